// node scripts/rehearse-cuda.js [--data-dir DIR] [--python python3] -- <command ...>: runs a command as on a machine
// with a CUDA card, without one: ONNX Runtime's real CUDA provider runs over stand-ins for CUDA's libraries
// (test/rehearsal/card), which provide memory and log the launches and copies that they are asked for. Sets
// LORIKEET_TEST_DEVICE for the command, and REHEARSAL_LOG, a folder with a log for each process. Needs a C compiler;
// the provider is downloaded once from PyPI.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { root } from './install.js';

const { values, positionals: command } = parseArgs({
  allowPositionals: true,
  options: {
    'data-dir': { type: 'string', default: join(homedir(), '.cache', 'lorikeet', 'rehearsal') },
    python: { type: 'string', default: process.env.LORIKEET_PYTHON || 'python3' },
  },
});
const work = resolve(values['data-dir']);
const target = join(work, 'cuda');
const sources = join(root, 'test', 'rehearsal', 'card');

/** Source file, name of the library, and whether the symbols have that name as their version. */
const libraries = [
  ['runtime', 'libcudart.so.13', true],
  ['products', 'libcublas.so.13', true],
  ['products-lt', 'libcublasLt.so.13', true],
  ['driver', 'libcuda.so.1', false],
  ['random', 'libcurand.so.10', false],
];

if (!existsSync(target)) {
  const setUp = join(root, 'scripts', 'setup-cuda.js');
  mkdirSync(work, { recursive: true });
  run(process.execPath, [setUp, '--compiler-only', '--data-dir', work, '--python', values.python]);
}
const card = join(work, 'card');
mkdirSync(card, { recursive: true });
for (const [source, name, isVersioned] of libraries) compile(source, name, isVersioned);
const log = join(work, 'log');
rmSync(log, { force: true, recursive: true });
mkdirSync(log);
const { status, error } = spawnSync(command[0], command.slice(1), {
  stdio: 'inherit',
  env: {
    ...process.env,
    LD_LIBRARY_PATH: [card, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':'),
    LORIKEET_TEST_DEVICE: 'cuda',
    LORIKEET_TEST_CUDA_DIR: target,
    REHEARSAL_LOG: log,
  },
});
if (error) throw error;
process.exitCode = status ?? 1;

function compile(source, name, isVersioned) {
  const flags = ['-O1', '-Wall', '-shared', '-fPIC', `-Wl,-soname,${name}`, '-o', join(card, name)];
  if (isVersioned) {
    const map = join(card, `${name}.map`);
    writeFileSync(map, `${name} { global: *; };\n`);
    flags.push(`-Wl,--version-script=${map}`);
  }
  // Every other library links to the runtime's stand-in, which has the log.
  const shared = source === 'runtime' ? [] : [`-L${card}`, '-l:libcudart.so.13', '-Wl,-rpath,$ORIGIN'];
  run(process.env.CC || 'cc', [...flags, join(sources, `${source}.c`), ...shared]);
}

function run(file, args) {
  const { status, error, stderr } = spawnSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'inherit', 'pipe'] });
  if (error) throw error;
  if (status !== 0) throw new Error(`${file} ${args.join(' ')}\n${stderr}`);
}
