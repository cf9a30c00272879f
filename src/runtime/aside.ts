// Long calls of the library, on a thread that computes only while cores idle. Where no core does, which other programs
// may cause for hours, calls are made like any other. The thread ends after some time without calls. Knows threads;
// knows nothing of what is called.

import { Worker } from 'node:worker_threads';
import { systemClock, systemTimers } from '../core/clock.ts';
import { serially } from '../core/serially.ts';
import type { OrtApi, Pointer } from './ort-api.ts';

export type AsideCall = {
  /** Path of the library, which is loaded already. */
  readonly library: string;
  readonly name: Parameters<OrtApi['call']>[0];
  readonly args: readonly unknown[];
};

/** A null `call` asks for some milliseconds of work, which shows whether the thread gets any time. */
export type AsideQuestion = { readonly id: number; readonly call: AsideCall | null };
export type AsideAnswer = { readonly id: number } & ({ readonly pointer: Pointer } | { readonly error: Error });

/** Milliseconds without calls after which the thread ends: gives back its 20 MiB for the 30 ms that a start takes. */
const idleMsMax = 2000;

/**
 * Milliseconds to wait for a start and some milliseconds of work, which is a fiftieth of a core. With less, a call
 * would take half a minute and more.
 */
const patienceMs = 1000;

/** Milliseconds for which that test's result holds, since a merge makes many calls. */
const roomMs = 10_000;

const inTurn = serially();
let thread: Worker | null = null;
let stayAlive = () => {};
let asked = 0;
let roomUntil = Number.NEGATIVE_INFINITY;

/** As `api.callAsync`; byte arrays in `args` are copied. */
export const callAside = (api: OrtApi, name: AsideCall['name'], ...args: readonly unknown[]): Promise<Pointer> =>
  inTurn(async () => {
    stayAlive();
    thread ??= startThread();
    thread.ref();
    try {
      if (!(await hasRoom(thread))) return await api.callAsync(name, ...args);
      const answer = await answerOf(thread, { library: api.library, name, args });
      if ('error' in answer) throw answer.error;
      return answer.pointer;
    } finally {
      thread?.unref();
      stayAlive = systemTimers.after(idleMsMax, end);
    }
  });

/** A thread that fails between two calls is forgotten; without a listener its error would end the process. */
function startThread(): Worker {
  const started = new Worker(new URL('./aside-thread.ts', import.meta.url));
  return started.on('error', () => {
    if (thread === started) thread = null;
  });
}

async function hasRoom(thread: Worker): Promise<boolean> {
  if (systemClock.monotonic() < roomUntil) return true;
  const isThere = await getsAnywhere(thread);
  if (isThere) roomUntil = systemClock.monotonic() + roomMs;
  return isThere;
}

function getsAnywhere(thread: Worker): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, patienceMs, false);
    answerOf(thread, null)
      .then(() => resolve(true), reject)
      .finally(() => clearTimeout(timer));
  });
}

function end(): void {
  thread?.terminate();
  thread = null;
}

function answerOf(thread: Worker, call: AsideCall | null): Promise<AsideAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<AsideAnswer>();
  const id = asked++;
  const take = (answer: AsideAnswer) => {
    if (answer.id === id) resolve(answer);
  };
  const fail = (error: Error) => {
    end();
    reject(error);
  };
  thread.on('message', take).once('error', fail);
  thread.postMessage({ id, call } satisfies AsideQuestion);
  return promise.finally(() => thread.off('message', take).off('error', fail));
}
