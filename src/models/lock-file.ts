// Lets one process fetch while others wait for the result. The lock only saves work: everything fetched is verified and
// published by one rename, so that two holders (after a pause longer than the patience below) do no harm.

import { randomUUID } from 'node:crypto';
import { open, readFile, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Clock, systemClock } from '../core/clock.ts';

export type LockTimes = { readonly beatMs: number; readonly patienceMs: number };

/** Milliseconds between a holder's beats, and without a beat before the holder counts as dead. */
const defaultTimes: LockTimes = { beatMs: 300, patienceMs: 3000 };

/**
 * Runs `work` while this process holds `path`. A holder proves by beats that it lives. A process id would mean nothing
 * to another container or machine on a shared volume.
 */
export async function withLockFile<T>(
  path: string,
  onWait: () => void,
  work: () => Promise<T>,
  times: LockTimes = defaultTimes,
  clock: Clock = systemClock,
): Promise<T> {
  const holder = randomUUID();
  await acquire(path, holder, onWait, times, clock);
  let beats = 0;
  const timer = setInterval(() => void beat(path, holder, ++beats).catch(() => {}), times.beatMs);
  try {
    return await work();
  } finally {
    clearInterval(timer);
    if ((await readLock(path))?.startsWith(holder)) await rm(path, { force: true });
  }
}

async function acquire(path: string, holder: string, onWait: () => void, times: LockTimes, clock: Clock) {
  let seen: string | null = null;
  let seenAt = 0;
  for (let tries = 0; ; tries++) {
    if (await create(path, `${holder} 0`)) return;
    if (tries === 0) onWait();
    const now = await readLock(path);
    if (now !== seen) {
      seen = now;
      seenAt = clock.monotonic();
    } else if (clock.monotonic() - seenAt > times.patienceMs) {
      await rm(path, { force: true });
    }
    await sleep(times.beatMs / 2);
  }
}

async function create(path: string, content: string): Promise<boolean> {
  try {
    await writeFile(path, content, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Writes a beat. Never creates the file, and never overwrites another holder's. */
async function beat(path: string, holder: string, count: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    if ((await file.readFile('utf8')).startsWith(holder)) await file.write(`${holder} ${count}`, 0);
  } finally {
    await file.close();
  }
}

const readLock = (path: string) => readFile(path, 'utf8').catch(() => null);
