// Finds llama.cpp's programs, or builds them once from the sources in llama-cpp-python's sdist on PyPI. Everything is
// in a cache folder outside the tree; nothing is installed.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';

/** The release of llama-cpp-python whose vendored llama.cpp is the peer. */
const release = '0.3.36';
const programs = { server: 'llama-server', bench: 'llama-bench', batchedBench: 'llama-batched-bench' } as const;

export type LlamaCpp = Readonly<Record<keyof typeof programs, string>> & {
  /** Description for results: the release, llama.cpp's own version and how it was built. */
  readonly version: string;
};

/** A release build for this very CPU, the fastest that llama.cpp has; without network, web page and GPU. */
const buildOptions = [
  '-DCMAKE_BUILD_TYPE=Release',
  '-DGGML_NATIVE=ON',
  '-DBUILD_SHARED_LIBS=OFF',
  '-DLLAMA_OPENSSL=OFF',
  '-DLLAMA_BUILD_TESTS=OFF',
  '-DLLAMA_BUILD_EXAMPLES=OFF',
  '-DLLAMA_BUILD_APP=OFF',
  '-DLLAMA_USE_PREBUILT_UI=OFF',
];

export function findOrBuildLlamaCpp(): LlamaCpp {
  const folder = join(process.env.XDG_CACHE_HOME ?? join(os.homedir(), '.cache'), 'lorikeet', 'llama.cpp');
  const stamp = join(folder, 'release');
  const built = existsSync(stamp) && readFileSync(stamp, 'utf8').trim() === release;
  if (!built) {
    build(folder);
    writeFileSync(stamp, `${release}\n`);
  }
  const paths = Object.fromEntries(
    Object.entries(programs).map(([name, file]) => [name, join(folder, 'build', 'bin', file)]),
  ) as Record<keyof typeof programs, string>;
  return { ...paths, version: version(folder) };
}

function build(folder: string): void {
  console.error(`building llama.cpp (llama-cpp-python ${release}) in ${folder}: once, for some minutes`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(join(folder, 'src'), { recursive: true });
  const pip = ['-m', 'pip', 'download', '--quiet', '--no-deps', '--no-binary', 'llama-cpp-python', '--dest', folder];
  command('python3', [...pip, `llama-cpp-python==${release}`]);
  const sdist = readdirSync(folder).find((name) => name.endsWith('.tar.gz'));
  if (sdist === undefined) throw new Error(`pip left no sdist in ${folder}`);
  const inside = `${sdist.replace(/\.tar\.gz$/, '')}/vendor/llama.cpp`;
  command('tar', ['-xzf', join(folder, sdist), '-C', join(folder, 'src'), '--strip-components=3', inside]);
  command('cmake', ['-S', join(folder, 'src'), '-B', join(folder, 'build'), ...buildOptions]);
  const jobs = String(os.availableParallelism());
  command('cmake', ['--build', join(folder, 'build'), '-j', jobs, '--target', ...Object.values(programs)]);
}

function command(name: string, args: readonly string[]): void {
  const { status, error } = spawnSync(name, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  if (error) throw new Error(`cannot build llama.cpp: ${name} is needed`, { cause: error });
  if (status !== 0) throw new Error(`cannot build llama.cpp: ${name} ${args[0]} ended with ${status}`);
}

function version(folder: string): string {
  const cache = readFileSync(join(folder, 'build', 'CMakeCache.txt'), 'utf8');
  const compiler = /^CMAKE_CXX_COMPILER:\w+=(.*)$/m.exec(cache)?.[1] ?? 'c++';
  const { stdout } = spawnSync(compiler, ['-dumpfullversion'], { encoding: 'utf8' });
  return `llama-cpp-python ${release}, Release, GGML_NATIVE, ${compiler.split('/').at(-1)} ${stdout.trim()}`;
}
