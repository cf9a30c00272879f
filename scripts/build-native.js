// node scripts/build-native.js: compiles native/ into native/lib/, for every platform that has a library there.
//
//   --check       compiles to a temporary folder, and fails where a byte differs from native/lib
//   --only NAME   one platform, such as linux-x64
//   --here        this machine's platform, by its own compiler ($CC, or cc): for platforms that have no library
//   --test        instead of a library a program that compares the variants (native/test), and runs it: with --here
//                 under sanitizers, which find wrong addresses and undefined behaviour; or for one platform with --only
//   --emulator X  the emulator that runs that program, such as qemu-aarch64-static
//   --out DIR     writes there instead of native/lib
//   --python BIN  the Python whose pip downloads the compiler (python3)
//
// The compiler is zig's, of one version: clang with the system libraries of every platform. The same sources give the
// same bytes on any machine.

import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from './install.js';

const { values } = parseArgs({
  options: {
    check: { type: 'boolean', default: false },
    here: { type: 'boolean', default: false },
    test: { type: 'boolean', default: false },
    emulator: { type: 'string' },
    only: { type: 'string' },
    out: { type: 'string' },
    python: { type: 'string', default: process.env.LORIKEET_PYTHON || 'python3' },
  },
});

const zigVersion = '0.17.0';
const zigHome = join(homedir(), '.cache', 'lorikeet', `ziglang-${zigVersion}`);
const sources = join(root, 'native');

const x64 = {
  scalar: [],
  avx2: ['-mavx2', '-mfma', '-mf16c', '-mbmi2'],
  avx512vnni: [
    '-mavx2',
    '-mfma',
    '-mf16c',
    '-mbmi2',
    ...['f', 'bw', 'dq', 'vl', 'vnni'].map((part) => `-mavx512${part}`),
  ],
};
// zig names an architecture by -mcpu, where other compilers use -march.
const arm64 = { scalar: [], dotprod: [values.here ? '-march=armv8.2-a+dotprod' : '-mcpu=generic+dotprod'] };
/** Platforms by Node's names: zig's target, the library's file name, and the flags of each variant of kernels/. */
const platforms = {
  'linux-x64': { target: 'x86_64-linux-gnu.2.17', file: 'lorikeet.so', variants: x64 },
  'linux-arm64': { target: 'aarch64-linux-gnu.2.17', file: 'lorikeet.so', variants: arm64 },
  'darwin-arm64': { target: 'aarch64-macos.11.0', file: 'lorikeet.dylib', variants: arm64 },
  'win32-x64': { target: 'x86_64-windows-gnu', file: 'lorikeet.dll', variants: x64 },
};

// Sums keep the order of the source: regrouping or contracting would make them depend on the code around them.
const common = ['-std=c17', '-O2', '-fvisibility=hidden', '-ffp-contract=off', '-fno-math-errno', '-g0'];
const warnings = ['-Wall', '-Wextra', '-Werror', '-Wno-missing-field-initializers'];

function main() {
  if (values.test) {
    test();
    return;
  }
  if (values.here) {
    const name = `${process.platform}-${process.arch}`;
    const path = build(name, hostPlatform(name), values.out ?? join(sources, 'lib'), hostCompiler());
    process.stdout.write(`${path}\n`);
    return;
  }
  const names = values.only ? [values.only] : Object.keys(platforms);
  const zig = compiler();
  const out = values.check ? mkdtempSync(join(tmpdir(), 'lorikeet-native-')) : (values.out ?? join(sources, 'lib'));
  try {
    for (const name of names) {
      if (!platforms[name]) throw new Error(`no platform ${name}; there are ${Object.keys(platforms).join(', ')}`);
      const made = build(name, platforms[name], out, zig);
      if (values.check) compare(made, join(sources, 'lib', name, platforms[name].file));
      process.stdout.write(`${values.check ? 'the same: ' : ''}${name} ${readFileSync(made).length} bytes\n`);
    }
  } finally {
    if (values.check) rmSync(out, { recursive: true, force: true });
  }
}

function compare(made, kept) {
  if (!existsSync(kept) || !readFileSync(made).equals(readFileSync(kept))) {
    throw new Error(`${kept} is not what its sources make: run \`node scripts/build-native.js\``);
  }
}

/**
 * Compiles and links the library of one platform.
 * @returns the library's path
 */
function build(name, platform, out, compile) {
  const path = join(out, name, platform.file);
  const isPic = name.startsWith('win32') ? [] : ['-fPIC'];
  // Name inside of the library, which would otherwise be the path where it was linked.
  const named = name.startsWith('darwin') ? [`-Wl,-install_name,@rpath/${platform.file}`] : [];
  link(platform, path, compile, [...isPic], ['-shared', '-s', ...named]);
  return path;
}

function test() {
  const name = values.here ? `${process.platform}-${process.arch}` : values.only;
  const known = values.here ? hostPlatform(name) : platforms[name];
  if (!known) throw new Error('--test needs --here or --only');
  const out = mkdtempSync(join(tmpdir(), 'lorikeet-native-'));
  try {
    const program = join(out, 'kernels');
    // With more than -O1 sanitized kernels take minutes to compile.
    const sanitize = values.here ? ['-O1', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-g'] : [];
    // musl links the program statically, since an emulator has no system libraries.
    const target = values.here ? undefined : known.target.replace(/gnu.*/, 'musl');
    const platform = { ...known, target, sources: [join(sources, 'test', 'kernels.c')] };
    const compile = values.here ? hostCompiler() : compiler();
    link(platform, program, compile, sanitize, [...sanitize, ...(values.here ? [] : ['-static']), '-lm']);
    const [command, ...args] = values.emulator ? [values.emulator, program] : [program];
    const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
    process.stdout.write(stdout ?? '');
    if (error || status !== 0) throw new Error(`${program} ended with ${status}: ${error?.message ?? stderr}`);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

/** Compiles all sources, those of kernels/ once for each variant, and links them to `path`. */
function link({ target, variants, sources: more = [] }, path, compile, compiling, linking) {
  const work = mkdtempSync(join(tmpdir(), 'lorikeet-objects-'));
  const flags = [...(target ? ['-target', target] : []), ...common];
  try {
    const objects = [];
    const object = (folder, source, extra, suffix = '') => {
      const made = join(work, `${source}${suffix}.o`);
      compile([...flags, ...compiling, ...warnings, ...extra, '-c', join(folder, source), '-o', made]);
      objects.push(made);
    };
    for (const source of cFiles(sources))
      object(sources, source, Object.keys(variants).length > 1 ? [] : ['-DSCALAR_ONLY']);
    for (const [variant, extra] of Object.entries(variants)) {
      const named = [`-DVARIANT_NAME=${variant}`, ...(variant === 'scalar' ? ['-DREFERENCE'] : []), ...extra];
      for (const source of cFiles(join(sources, 'kernels')))
        object(join(sources, 'kernels'), source, named, `.${variant}`);
    }
    for (const source of more) object(dirname(source), basename(source), []);
    mkdirSync(dirname(path), { recursive: true });
    const made = join(work, basename(path));
    compile([...flags, ...objects, ...linking, '-o', made]);
    // The old file is removed and not written over: a process that has loaded it keeps its contents.
    rmSync(path, { force: true });
    copyFileSync(made, path);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const cFiles = (folder) =>
  readdirSync(folder)
    .filter((file) => file.endsWith('.c'))
    .sort();

/** Gives zig's compiler, which is downloaded once from PyPI, where zig publishes its releases. */
function compiler() {
  const zig = join(zigHome, 'ziglang', process.platform === 'win32' ? 'zig.exe' : 'zig');
  if (!existsSync(zig)) {
    const options = ['--quiet', '--disable-pip-version-check', '--no-deps', '--only-binary=:all:', '--target', zigHome];
    execute(values.python, ['-m', 'pip', 'install', ...options, `ziglang==${zigVersion}`]);
  }
  // zig's debug builds enable this sanitizer by default.
  return (args) => execute(zig, ['cc', '-fno-sanitize=undefined', ...args]);
}

function hostCompiler() {
  const cc = process.env.CC || 'cc';
  return (args) => execute(cc, args);
}

function hostPlatform(name) {
  const known = platforms[name];
  const suffix = { darwin: 'dylib', win32: 'dll' }[process.platform] ?? 'so';
  const variants = known?.variants ?? { x64, arm64 }[process.arch] ?? { scalar: [] };
  return { file: `lorikeet.${suffix}`, variants };
}

function execute(command, args) {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (error) throw new Error(`${command} cannot be run: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}\n${stderr.trim()}`);
}

try {
  main();
} catch (error) {
  process.stderr.write(`build-native: ${error.message}\n`);
  process.exitCode = 1;
}
