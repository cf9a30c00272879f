// Uploads, uses once and deletes one new adapter after another: the server's memory must not grow.

import { readdirSync, readFileSync } from 'node:fs';
import { upload } from '../peers/adapter-works.ts';
import type { Setup } from '../peers/step-works.ts';
import { promptOf } from '../prompt-of.ts';
import { ask, makeAdapter, nameOf, type Size, startOurs } from './server.ts';

/** Swaps after which memory is read. It grows until the memory budget and the allocators' pools are full. */
const every = 100;

export async function swaps(setup: Setup, folder: string, { adapters }: Size): Promise<object> {
  const { url, stop } = await startOurs(setup, folder, ['--adapter-memory', '64MiB']);
  const began = performance.now();
  const memory: number[] = [];
  try {
    for (let i = 0; i < adapters; i++) {
      await upload(url, nameOf(i), makeAdapter(i));
      await ask(url, { prompt: promptOf(i, 8), adapter_id: nameOf(i) }, 2);
      const answer = await fetch(`${url}/v1/adapters/${nameOf(i)}`, { method: 'DELETE' });
      if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
      if ((i + 1) % every === 0) memory.push(Math.round(residentBytes(folder) / 2 ** 20));
    }
  } finally {
    await stop();
  }
  const seconds = (performance.now() - began) / 1000;
  return { swaps: adapters, seconds, residentMiB: memory };
}

/** Resident memory of the server that uses the folder, and of its children. Linux only. */
function residentBytes(folder: string): number {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const status = (pid: string) => {
    try {
      return readFileSync(`/proc/${pid}/status`, 'utf8');
    } catch {
      return '';
    }
  };
  const command = (pid: string) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    } catch {
      return '';
    }
  };
  const parents = new Set(pids.filter((pid) => command(pid).includes(folder)));
  const family = pids.filter((pid) => parents.has(pid) || parents.has(/^PPid:\s*(\d+)/m.exec(status(pid))?.[1] ?? ''));
  return family.reduce((sum, pid) => sum + 1024 * Number(/^VmRSS:\s*(\d+)/m.exec(status(pid))?.[1] ?? 0), 0);
}
