// Facts about the machine on which results depend besides the code. They are written into every file under
// bench/results.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';

export type Machine = {
  readonly cpu: string;
  readonly cores: number;
  /** Instruction sets that decide which kernels run; empty where the system does not tell. */
  readonly cpuFlags: readonly string[];
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  readonly onnxRuntime: string;
  readonly commit: string;
};

const kernelFlags = /^(avx.*|f16c|fma|amx.*|asimd.*|sve.*|i8mm|bf16)$/;

export function describeMachine(): Machine {
  return {
    cpu: os.cpus()[0]?.model ?? 'unknown',
    cores: os.availableParallelism(),
    cpuFlags: cpuFlags(),
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    system: `${os.type()} ${os.arch()}`,
    node: process.version,
    onnxRuntime: packageVersion('onnxruntime-node'),
    commit: commit(),
  };
}

function cpuFlags(): string[] {
  if (process.platform !== 'linux') return [];
  const flags = /^(?:flags|Features)\s*: (.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? '';
  return flags.split(' ').filter((flag) => kernelFlags.test(flag));
}

function packageVersion(name: string): string {
  const manifest = readFileSync(new URL(`../node_modules/${name}/package.json`, import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

/** Names the commit, with `-dirty` where tracked files differ, so that no result is taken for a clean commit's. */
function commit(): string {
  const cwd = import.meta.dirname;
  try {
    return execFileSync('git', ['describe', '--always', '--dirty', '--abbrev=12'], { cwd, encoding: 'utf8' }).trim();
  } catch {
    // Some machines only have the files, without git.
    return 'unknown';
  }
}
