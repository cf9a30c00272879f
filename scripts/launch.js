// Runs a TypeScript file of this project under the right Node, and passes on signals and the exit code.

import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { ensureInstalled, root } from './install.js';

/** The arguments of src/core/node-arguments.ts, which gives the reasons. Older Nodes cannot import that file. */
const nodeArguments = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=16'];

/** Cache of stripped TypeScript: a start is a tenth shorter, and no process loads 25 MiB of code to strip types. */
const compileCache = join(root, 'node_modules', '.cache', 'lorikeet');

/**
 * Installs the packages if needed, runs Node with these arguments, and sets this process's exit code to the child's.
 * @param {string[]} args arguments of node
 * @param {{ dev?: boolean, cwd?: string }} options `dev`: needs the development packages
 */
export async function launch(args, { dev = false, cwd = process.cwd() } = {}) {
  process.exitCode = await run(args, { dev, cwd }).catch((error) => {
    process.stderr.write(`${error.message}\n`);
    return 1;
  });
}

/** Does the same as `launch`, but returns the exit code. */
export async function run(args, { dev = true, cwd = root } = {}) {
  const node = await ensureInstalled({ dev });
  const child = spawn(node, [...nodeArguments, ...args], {
    cwd,
    env: { NODE_COMPILE_CACHE: compileCache, ...process.env },
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  });
  // The IPC channel carries no messages: its end tells a server that this process is gone, however it ended. On a
  // terminal Ctrl-C reaches the child by itself, and this process only waits for the child to end.
  const forward = (signal) => (signal === 'SIGINT' && process.stdin.isTTY ? undefined : child.kill(signal));
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, forward);
  return await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? 128 + constants.signals[signal]));
  }).finally(() => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.off(signal, forward);
  });
}
