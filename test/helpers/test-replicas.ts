// Several servers on one PostgreSQL and one store in this process, each with its own connections, memory and folder, as
// in processes of their own.

import type { TestContext } from 'node:test';
import { systemClock, systemTimers } from '../../src/core/clock.ts';
import type { RegistryOptions } from '../../src/registry/options.ts';
import { openPostgres } from '../../src/storage/database.ts';
import { lockServer } from '../../src/storage/postgres/server-lock.ts';
import { type OpenReplica, openReplica, type ReplicaOptions } from '../../src/storage/replicas/open-replica.ts';
import { memoryStore } from './memory-store.ts';
import { type TestRegistry, testRegistry } from './test-registry.ts';

type Options = Partial<Pick<ReplicaOptions, 'leaseMs' | 'graceMs' | 'staleMsMax' | 'clock' | 'timers'>>;

/** @param url of a database whose schema is there, perhaps through a link that the test cuts */
export async function testReplica(
  t: TestContext,
  id: string,
  url: string,
  options: Options = {},
): Promise<OpenReplica> {
  const database = await openPostgres(url, { connections: 2, answerMs: 2000 });
  const replica = await openReplica({
    ...{ database, id, isShared: true, clock: systemClock, timers: systemTimers, staleMsMax: 0 },
    log: { warn: () => {} },
    ...options,
  });
  const lock = await lockServer(url, systemTimers, () => {}, { isShared: true, onHint: () => replica.hint() });
  t.after(async () => {
    await replica.close();
    await lock.release();
    await database.destroy();
  });
  return replica;
}

export type ReplicaRegistry = TestRegistry & { readonly replica: OpenReplica };

export async function replicaRegistry(
  t: TestContext,
  id: string,
  url: string,
  options: Partial<RegistryOptions> & { readonly replica?: Options; readonly store?: ReturnType<typeof memoryStore> },
): Promise<ReplicaRegistry> {
  const { replica: how, store = memoryStore(), ...rest } = options;
  const replica = await testReplica(t, id, url, how);
  const database = await openPostgres(url);
  const shared = { store, cacheBytes: 2 ** 30 };
  const registry = await testRegistry(t, { shared, ...rest, database, changes: replica });
  t.after(() => database.destroy());
  return { ...registry, replica };
}
