// Servers in processes of their own on the tiny model, with their engines and trainers as processes that can be found
// and ended.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, openSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { tinyModelPath } from '../helpers/tiny-models.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

export type Part = 'server' | 'engine' | 'trainer';

export type ServerProcess = {
  /** Resolves when it is ready; null where it ends before. */
  readonly url: Promise<string | null>;
  /** null where there is none at the moment. */
  pidOf(part: Part): number | null;
  /** Resolves when the process is gone; its children may outlive it for a moment. */
  kill(): Promise<void>;
};

/** A folder that keeps what each server says. */
const logs = process.env.LORIKEET_TEST_LOGS ?? null;

export function launchServer(
  folder: string,
  variables: Readonly<Record<string, string>> = {},
  port = 0,
  /** The project's folder; another one is of another release. */
  release = root,
): ServerProcess {
  const settings = [
    '--port',
    String(port),
    '--data-dir',
    join(folder, 'data'),
    '--threads',
    '1',
    '--log-level',
    logs === null ? 'error' : 'debug',
  ];
  const child = spawn(
    process.execPath,
    [
      '--disable-warning=ExperimentalWarning',
      join(release, 'src/cli/main.ts'),
      'serve',
      tinyModelPath('llama'),
      ...settings,
    ],
    {
      stdio: ['ignore', logs === null ? 'ignore' : openSync(join(logs, `${basename(folder)}.log`), 'a'), 'pipe'],
      cwd: folder,
      env: { HF_HOME: folder, HF_HUB_OFFLINE: '1', ...variables },
    },
  );
  const ended = once(child, 'exit');
  return {
    url: readyAt(child),
    pidOf: (part) => (part === 'server' ? (child.pid ?? null) : childOf(child.pid!, part)),
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

function readyAt(child: ChildProcess): Promise<string | null> {
  const { promise, resolve } = Promise.withResolvers<string | null>();
  let text = '';
  child.stderr!.setEncoding('utf8').on('data', (part: string) => {
    text += part;
    const url = /is ready at (\S+) after/.exec(text)?.[1];
    if (url !== undefined) resolve(url);
  });
  child.once('exit', (_code, signal) => {
    if (signal !== 'SIGKILL') process.stderr.write(text);
    resolve(null);
  });
  return promise;
}

const entries = { engine: 'src/engine/main.ts', trainer: 'src/training/main.ts' };

function childOf(parent: number, part: keyof typeof entries): number | null {
  const pids = readProcess(parent, `task/${parent}/children`).split(' ').filter(Boolean).map(Number);
  return pids.find((pid) => isAlive(pid) && readProcess(pid, 'cmdline').includes(entries[part])) ?? null;
}

/** Ended, and not yet taken note of by its parent, is not alive. */
export const isAlive = (pid: number) => existsSync(`/proc/${pid}/stat`) && !/^$|\) Z /.test(readProcess(pid, 'stat'));

/** The empty text where the process is gone. */
function readProcess(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}

/** false where the process was gone before. */
export function signal(pid: number | null, name: NodeJS.Signals): boolean {
  if (pid === null || !isAlive(pid)) return false;
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

export async function gone(pid: number): Promise<void> {
  while (isAlive(pid)) await sleep(10);
}
