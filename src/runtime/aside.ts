// Long calls of the library on a thread that takes only what others leave of the processor. It ends when nobody has
// called for a while. Knows threads; knows nothing of what is called.

import { Worker } from 'node:worker_threads';
import { systemTimers } from '../core/clock.ts';
import { serially } from '../core/serially.ts';
import type { OrtApi, Pointer } from './ort-api.ts';

export type AsideCall = {
  /** Path of the library, which is open already. */
  readonly library: string;
  readonly name: Parameters<OrtApi['call']>[0];
  /** Bytes are copied. */
  readonly args: readonly unknown[];
};

export type AsideAnswer = { readonly pointer: Pointer } | { readonly error: Error };

/** Its memory, some 20 MiB, for the 30 ms that a start takes. */
const idleMsMax = 2000;

const inTurn = serially();
let thread: Worker | null = null;
let stayAlive = () => {};

/** As `OrtApi.callAsync`. */
export const callAside = (call: AsideCall): Promise<Pointer> =>
  inTurn(async () => {
    stayAlive();
    thread ??= new Worker(new URL('./aside-thread.ts', import.meta.url));
    thread.ref();
    try {
      const answer = await answerOf(thread, call);
      if ('error' in answer) throw answer.error;
      return answer.pointer;
    } finally {
      thread?.unref();
      stayAlive = systemTimers.after(idleMsMax, end);
    }
  });

function end(): void {
  thread?.terminate();
  thread = null;
}

function answerOf(thread: Worker, call: AsideCall): Promise<AsideAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<AsideAnswer>();
  const fail = (error: Error) => {
    end();
    reject(error);
  };
  thread.once('message', resolve).once('error', fail);
  thread.postMessage(call);
  return promise.finally(() => thread.off('message', resolve).off('error', fail));
}
