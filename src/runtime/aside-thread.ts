// The thread that works while cores idle: makes one call of the library after another.

import { parentPort } from 'node:worker_threads';
import type { AsideAnswer, AsideCall } from './aside.ts';
import { runWhenIdle } from './idle-class.ts';
import { loadOrtApi, type OrtApi } from './ort-api.ts';

runWhenIdle();

const apis = new Map<string, OrtApi>();

parentPort!.on('message', ({ library, name, args }: AsideCall) => {
  const api = apis.get(library) ?? loadOrtApi(library);
  apis.set(library, api);
  parentPort!.postMessage(answer(() => api.call(name, ...args)));
});

function answer(call: () => bigint): AsideAnswer {
  try {
    return { pointer: call() };
  } catch (error) {
    return { error: error as Error };
  }
}
