// Makes a fresh clone ready to run: installs the packages through npm, and a Node of version 24 or newer. It is
// JavaScript for Node 20, since it runs before anything is installed.

import { spawn } from 'node:child_process';
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** The first major version of Node that runs TypeScript by itself and has node:sqlite. */
const nodeMajorMin = 24;
const lockFile = join(root, '.install.lock');
/** Path of the Node in its package. It has no link in node_modules/.bin, since npm 10 makes none for it. */
const localNode = () =>
  ['node', 'node-bin']
    .map((name) => join(root, 'node_modules', `${name}-${process.platform}-${process.arch}`, 'bin', 'node'))
    .find((path) => existsSync(path));

const ownNodeIsNewEnough = Number.parseInt(process.versions.node, 10) >= nodeMajorMin;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const say = (line) => process.stderr.write(`${line}\n`);

/**
 * Installs the packages of package-lock.json, unless they are there already.
 * @param {{ dev: boolean }} options `dev`: tools for tests and checks are needed too
 * @returns {Promise<string>} path of a Node to run Lorikeet with
 */
export async function ensureInstalled({ dev }) {
  if (!installed(dev)) await withLock(() => (installed(dev) ? undefined : install()));
  if (ownNodeIsNewEnough) return process.execPath;
  const node = localNode();
  if (node !== undefined) return node;
  throw new Error(
    `Lorikeet needs Node ${nodeMajorMin} or newer; this is ${process.versions.node}, and npm has no binary of it ` +
      `for ${process.platform}-${process.arch}. Install Node ${nodeMajorMin} and start again.`,
  );
}

/**
 * Whether the packages are installed. npm writes node_modules/.package-lock.json last, so a partial install does not
 * count. Versions are compared and not times, since a checkout touches package-lock.json without changing it. Optional
 * packages may be for another platform.
 */
function installed(dev) {
  let present;
  try {
    present = JSON.parse(readFileSync(join(root, 'node_modules', '.package-lock.json'), 'utf8')).packages;
  } catch {
    return false;
  }
  const wanted = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')).packages;
  return Object.entries(wanted).every(
    ([path, entry]) =>
      path === '' ||
      entry.optional ||
      entry.devOptional ||
      (entry.dev && !dev) ||
      (present[path]?.version === entry.version && present[path]?.integrity === entry.integrity),
  );
}

/** Runs one install in this folder at a time; another start waits. The lock of a process that is gone is taken over. */
async function withLock(work) {
  let announced = false;
  for (;;) {
    try {
      writeFileSync(lockFile, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (error.code !== 'EEXIST') throw error;
    }
    if (takeOverIfAbandoned()) continue;
    if (!announced) say('Another start is installing the packages; waiting for it.');
    announced = true;
    await sleep(300);
  }
  try {
    await work();
  } finally {
    rmSync(lockFile, { force: true });
  }
}

function takeOverIfAbandoned() {
  try {
    const owner = readFileSync(lockFile, 'utf8');
    // An empty file's owner has created it, and is about to write its process id.
    if (owner === '' || isAlive(Number(owner))) return false;
    // A rename succeeds for one process only, where two unlinks could remove the next owner's lock.
    renameSync(lockFile, `${lockFile}.${process.pid}`);
    rmSync(`${lockFile}.${process.pid}`, { force: true });
    return true;
  } catch (error) {
    if (error.code === 'ENOENT') return true;
    throw error;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

async function install() {
  const began = Date.now();
  const seconds = () => `${Math.round((Date.now() - began) / 1000)} s`;
  say('Installing packages (npm ci). This is done once.');
  // npm shows its own progress on a terminal; a log gets a line every 15 seconds.
  const alive = process.stderr.isTTY ? undefined : setInterval(() => say(`  still installing, ${seconds()}`), 15_000);
  const [command, ...args] = npmCommand();
  // Warnings are about the Node that runs npm, and not about the one that runs the program; errors are still shown.
  const child = spawn(command, [...args, 'ci', '--loglevel=error', '--include=dev', '--include=optional'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
  const code = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  }).finally(() => clearInterval(alive));
  if (code !== 0) {
    throw new Error(`npm ci failed (exit code ${code}). Is the npm registry reachable? Its messages are above.`);
  }
  say(`Packages installed in ${seconds()}.`);
}

/**
 * The npm that started this process where there is one: on a machine with several, it is the one that the user chose.
 */
function npmCommand() {
  const started = process.env.npm_execpath;
  return started && basename(started) === 'npm-cli.js' ? [process.execPath, started] : ['npm'];
}
