// The sessions of small graphs over device memory. Each is made when it is first needed.

import { encodeOnnx, type OnnxGraph } from '../../formats/onnx.ts';
import { buildClear, buildCopyRows, buildWriteRows } from '../../graph/pool-rows.ts';
import type { Real } from '../../graph/target.ts';
import { buildFetchRows, buildTopLogits } from '../../graph/top-logits.ts';
import type { Runtime, Session } from '../../runtime/session.ts';

export type RowSessions = {
  write(pools: number, transposed: boolean): Promise<Session>;
  copy(pools: number): Promise<Session>;
  clear(): Promise<Session>;
  top(vocabulary: number, count: number): Promise<Session>;
  fetch(vocabulary: number): Promise<Session>;
  release(): Promise<void>;
};

export function createRowSessions(runtime: Runtime, real: Real): RowSessions {
  const sessions = new Map<string, Promise<Session>>();
  const once = (key: string, build: () => OnnxGraph) => {
    const known = sessions.get(key);
    if (known) return known;
    const session = runtime.session(encodeOnnx(build()), { weights: new Map() });
    sessions.set(key, session);
    // A session that could not be made, perhaps for want of memory, is tried again when it is next needed.
    session.catch(() => sessions.delete(key));
    return session;
  };
  return {
    write: (pools, transposed) => once(`write ${pools} ${transposed}`, () => buildWriteRows(pools, real, transposed)),
    copy: (pools) => once(`copy ${pools}`, () => buildCopyRows(pools, real)),
    clear: () => once('clear', () => buildClear(real)),
    top: (vocabulary, count) => once(`top ${vocabulary} ${count}`, () => buildTopLogits(vocabulary, count)),
    fetch: (vocabulary) => once(`fetch ${vocabulary}`, () => buildFetchRows(vocabulary)),
    async release() {
      for (const made of await Promise.allSettled(sessions.values())) {
        if (made.status === 'fulfilled') made.value.release();
      }
    },
  };
}
