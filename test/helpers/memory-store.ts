// A store of objects in memory, which a test can make fail.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { LorikeetError } from '../../src/core/errors.ts';
import type { ObjectStore } from '../../src/storage/object-store.ts';

export type MemoryStore = ObjectStore & {
  readonly objects: Map<string, Buffer>;
  /** Time at which each object was put; a test may set it back. */
  readonly putAt: Map<string, number>;
  /** Whether every call fails with `storage_unavailable`. */
  isAway: boolean;
  gets: number;
};

export function memoryStore(): MemoryStore {
  const objects = new Map<string, Buffer>();
  const putAt = new Map<string, number>();
  const asked = async () => {
    if (store.isAway) throw new LorikeetError('storage_unavailable');
  };
  const store: MemoryStore = {
    ...{ name: 'memory', objects, putAt, isAway: false, gets: 0 },
    async put(key, { path, sha256 }, { replaces } = { replaces: false }) {
      await asked();
      const bytes = readFileSync(path);
      if (createHash('sha256').update(bytes).digest('hex') !== sha256) throw new LorikeetError('storage_unavailable');
      if (!replaces && objects.has(key)) return;
      objects.set(key, bytes);
      putAt.set(key, Date.now());
    },
    async get(key) {
      await asked();
      store.gets++;
      const bytes = objects.get(key);
      return bytes === undefined ? null : inParts(bytes);
    },
    async bytes(key) {
      await asked();
      return objects.get(key)?.length ?? null;
    },
    async remove(key) {
      await asked();
      objects.delete(key);
    },
    async list(prefix, after, limit) {
      await asked();
      const keys = [...objects.keys()].filter((key) => key.startsWith(prefix) && (after === null || key > after));
      return keys.sort().slice(0, limit);
    },
    async listAged(prefix, after, limit) {
      return (await store.list(prefix, after, limit)).map((key) => ({ key, putAt: putAt.get(key)! }));
    },
    close() {},
  };
  return store;
}

async function* inParts(bytes: Buffer): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
}
