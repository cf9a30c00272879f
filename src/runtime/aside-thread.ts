// The thread that works while cores idle: makes one call of the library after another.

import { parentPort } from 'node:worker_threads';
import type { AsideAnswer, AsideCall, AsideQuestion } from './aside.ts';
import { runWhenIdle } from './idle-class.ts';
import { loadOrtApi, type OrtApi, type Pointer } from './ort-api.ts';

runWhenIdle();

const apis = new Map<string, OrtApi>();

parentPort!.on('message', ({ id, call }: AsideQuestion) => {
  parentPort!.postMessage({ id, ...answer(() => (call === null ? work() : make(call))) } satisfies AsideAnswer);
});

function answer(call: () => Pointer): { readonly pointer: Pointer } | { readonly error: Error } {
  try {
    return { pointer: call() };
  } catch (error) {
    return { error: error as Error };
  }
}

function make({ library, name, args }: AsideCall): Pointer {
  const api = apis.get(library) ?? loadOrtApi(library);
  apis.set(library, api);
  return api.call(name, ...args);
}

/** Computes for some milliseconds. */
function work(): Pointer {
  let sum = 0;
  for (let i = 0; i < 5_000_000; i++) sum += Math.sqrt(i);
  return BigInt(Math.floor(sum % 2));
}
