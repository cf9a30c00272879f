// Starts a server on a free port, waits until it answers, and stops it.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { watchMemory } from './run-process.ts';

export type RunningServer = {
  readonly url: string;
  /** Ends the server and gives its peak resident memory, children included. */
  stop(): Promise<number>;
};

/** Longest start in milliseconds; the first start may lower weights. */
const readyMsMax = 120_000;
const stderrTailChars = 2000;

export type ServerCommand = { readonly command: string; args(port: number): readonly string[]; readonly ready: string };

export async function startServer({ command, args, ready }: ServerCommand): Promise<RunningServer> {
  const port = await freePort();
  const child = spawn(command, args(port), { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-stderrTailChars);
  });
  const memory = watchMemory(child);
  const stop = async () => {
    const peakRssBytes = memory.stop();
    if (running(child)) {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    return peakRssBytes;
  };
  const url = `http://127.0.0.1:${port}`;
  try {
    await waitUntilReady(child, `${url}${ready}`);
  } catch (cause) {
    await stop();
    throw new Error(`${command} did not become ready:\n${stderr}`, { cause });
  }
  return { url, stop };
}

const running = (child: ChildProcess) => child.exitCode === null && child.signalCode === null;

async function waitUntilReady(child: ChildProcess, url: string): Promise<void> {
  const deadline = performance.now() + readyMsMax;
  while (running(child) && performance.now() < deadline) {
    const ok = await fetch(url).then(
      (response) => response.ok,
      () => false,
    );
    if (ok) return;
    await sleep(100);
  }
  throw new Error(running(child) ? `nothing from ${url} in ${readyMsMax / 1000} s` : 'it ended');
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
