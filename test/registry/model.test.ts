// Random operations on the registry, compared with a plain model: tables in memory and no files.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import fc from 'fast-check';
import { systemClock } from '../../src/core/clock.ts';
import { limits } from '../../src/core/limits.ts';
import type { AdapterLease, AdapterState } from '../../src/registry/adapter-registry.ts';
import type { OpenReplica } from '../../src/storage/replicas/open-replica.ts';
import { memoryStore } from '../helpers/memory-store.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { newDatabase, newDatabaseUrl, withoutPostgres } from '../helpers/test-database.ts';
import { type TestRegistry, testRegistry, upload } from '../helpers/test-registry.ts';
import { replicaRegistry } from '../helpers/test-replicas.ts';

const tenants = ['one', 'two'] as const;
const names = ['a', 'b'] as const;
const aliases = ['prod', 'beta'] as const;
const seeds = [0, 1, 2];

type Owner = { readonly tenant: (typeof tenants)[number]; readonly name: (typeof names)[number] };
type Operation = Owner &
  (
    | { readonly kind: 'upload'; readonly seed: number }
    | { readonly kind: 'alias'; readonly alias: string; readonly version: number; readonly isCurrent: boolean }
    | { readonly kind: 'deleteAlias'; readonly alias: string }
    | { readonly kind: 'lease'; readonly suffix: string }
    | { readonly kind: 'release'; readonly which: number }
    | { readonly kind: 'delete'; readonly version: number | null }
    | { readonly kind: 'corrupt'; readonly version: number }
    | { readonly kind: 'restart' }
  );

const version = fc.integer({ min: 1, max: 4 });
const owner = { tenant: fc.constantFrom(...tenants), name: fc.constantFrom(...names) };
const alias = fc.constantFrom(...aliases);
const suffix = fc.oneof(
  fc.constant(''),
  version.map((version) => `@${version}`),
  alias.map((alias) => `:${alias}`),
);
const operation = fc.oneof(
  { weight: 5, arbitrary: fc.record({ ...owner, kind: fc.constant('upload'), seed: fc.constantFrom(...seeds) }) },
  {
    weight: 2,
    arbitrary: fc.record({ ...owner, kind: fc.constant('alias'), alias, version, isCurrent: fc.boolean() }),
  },
  { weight: 1, arbitrary: fc.record({ ...owner, kind: fc.constant('deleteAlias'), alias }) },
  { weight: 4, arbitrary: fc.record({ ...owner, kind: fc.constant('lease'), suffix }) },
  { weight: 3, arbitrary: fc.record({ ...owner, kind: fc.constant('release'), which: fc.nat(9) }) },
  { weight: 3, arbitrary: fc.record({ ...owner, kind: fc.constant('delete'), version: fc.option(version) }) },
  { weight: 1, arbitrary: fc.record({ ...owner, kind: fc.constant('corrupt'), version }) },
  { weight: 1, arbitrary: fc.record({ ...owner, kind: fc.constant('restart') }) },
) as fc.Arbitrary<Operation>;

// --- the model ---

type Version = { readonly version: number; readonly seed: number; state: AdapterState; leases: number };
type Name = { last: number; lastRevision: number; versions: Version[]; aliases: Map<string, [number, number]> };

class Model {
  readonly names = new Map<string, Name>();

  of({ tenant, name }: Owner): Name {
    const key = `${tenant} ${name}`;
    if (!this.names.has(key)) this.names.set(key, { last: 0, lastRevision: 0, versions: [], aliases: new Map() });
    return this.names.get(key)!;
  }

  all(): Version[] {
    return [...this.names.values()].flatMap(({ versions }) => versions);
  }

  /** The version, or the error's code. */
  resolve(owner: Owner, suffix: string): Version | string {
    const { versions, aliases } = this.of(owner);
    if (versions.length === 0) return 'adapter_not_found';
    const number = suffix.startsWith('@') ? Number(suffix.slice(1)) : aliases.get(suffix.slice(1))?.[0];
    if (suffix.startsWith(':') && number === undefined) return 'alias_not_found';
    const newest = versions.findLast(({ state }) => state === 'ready') ?? versions.at(-1)!;
    const found = suffix === '' ? newest : versions.find(({ version }) => version === number);
    if (found === undefined) return 'adapter_not_found';
    if (found.state === 'corrupt') return 'adapter_corrupt';
    return found.state === 'deleting' ? 'adapter_deleting' : found;
  }

  /** Removes versions that are being deleted and have no leases. */
  settle(): void {
    for (const name of this.names.values()) {
      name.versions = name.versions.filter(({ state, leases }) => state !== 'deleting' || leases > 0);
    }
  }
}

// --- the registry, of one server or of several, beside the model ---

type OpenRegistry = TestRegistry & { readonly replica?: OpenReplica };

class Run {
  readonly model = new Model();
  readonly leases: { readonly lease: AdapterLease; readonly version: Version }[] = [];
  readonly deletions: Promise<unknown>[] = [];
  readonly open: () => Promise<readonly OpenRegistry[]>;
  registries: readonly OpenRegistry[] = [];
  #turn = 0;

  constructor(open: () => Promise<readonly OpenRegistry[]>) {
    this.open = open;
  }

  /** Takes another server for each use. */
  get registry(): TestRegistry {
    return this.registries[this.#turn++ % this.registries.length]!;
  }

  async close(): Promise<void> {
    for (const registry of this.registries) {
      await registry.close();
      await registry.replica?.close();
    }
  }

  /** The error's code; null: no error. */
  async code(work: Promise<unknown>): Promise<string | null> {
    return await work.then(
      () => null,
      (error) => error.code ?? assert.fail(error),
    );
  }

  async apply(operation: Operation): Promise<void> {
    const { model, registry } = this;
    const { tenant, name } = operation;
    const named = model.of(operation);
    switch (operation.kind) {
      case 'upload':
        return await this.upload(operation, operation.seed);
      case 'alias': {
        const current = named.aliases.get(operation.alias);
        const target = named.versions.find(({ version }) => version === operation.version);
        const isThere = target !== undefined && target.state !== 'deleting';
        const expected = operation.isCurrent ? (current?.[1] ?? 0) : 99;
        const targets = [{ version: operation.version, weight: 1 }];
        const code = await this.code(registry.setAlias(tenant, { name, alias: operation.alias, targets, expected }));
        assert.equal(code, isThere ? (operation.isCurrent ? null : 'alias_changed') : 'adapter_not_found');
        if (code === null) named.aliases.set(operation.alias, [operation.version, ++named.lastRevision]);
        return;
      }
      case 'deleteAlias': {
        const code = await this.code(registry.deleteAlias(tenant, name, operation.alias, null));
        const isThere = named.aliases.delete(operation.alias);
        assert.equal(code, named.versions.length === 0 ? 'adapter_not_found' : isThere ? null : 'alias_not_found');
        return;
      }
      case 'lease': {
        const expected = model.resolve(operation, operation.suffix);
        const lease = registry.lease(tenant, name + operation.suffix);
        if (typeof expected === 'string') return assert.equal(await this.code(lease), expected);
        expected.leases++;
        assert.equal((await lease).adapter.version, expected.version);
        this.leases.push({ lease: await lease, version: expected });
        return;
      }
      case 'release': {
        const [held] = this.leases.splice(operation.which, 1);
        if (held === undefined) return;
        held.lease.release();
        held.lease.release();
        held.version.leases--;
        return;
      }
      case 'delete':
        return await this.delete(operation, operation.version);
      case 'corrupt':
        return await this.corrupt(named, operation.version);
      case 'restart':
        return await this.restart();
    }
  }

  async upload(owner: Owner, seed: number): Promise<void> {
    const named = this.model.of(owner);
    const same = named.versions.find((version) => version.seed === seed && version.state !== 'deleting');
    const { adapter, created } = await upload(this.registry, owner.name, seed, { tenant: owner.tenant });
    assert.equal(created, same === undefined);
    // The bytes are intact now, for all versions with this content.
    for (const other of this.model.all()) if (other.seed === seed && other.state === 'corrupt') other.state = 'ready';
    if (same === undefined) named.versions.push({ version: ++named.last, seed, state: 'ready', leases: 0 });
    assert.equal(adapter.version, same?.version ?? named.last);
    assert.equal(adapter.state, 'ready');
  }

  async delete({ tenant, name }: Owner, version: number | null): Promise<void> {
    const named = this.model.of({ tenant, name } as Owner);
    const work = this.code(this.registry.delete(tenant, name, version));
    const going = named.versions.filter((entry) => version === null || entry.version === version);
    const isAliased = version !== null && [...named.aliases.values()].some(([target]) => target === version);
    if (going.length === 0) return assert.equal(await work, 'adapter_not_found');
    if (isAliased) return assert.equal(await work, 'invalid_parameter');
    if (version === null) named.aliases.clear();
    for (const entry of going) entry.state = 'deleting';
    this.deletions.push(work);
    if (going.every(({ leases }) => leases === 0)) assert.equal(await work, null);
  }

  async corrupt(named: Name, number: number): Promise<void> {
    const found = named.versions.find(({ version, state }) => version === number && state === 'ready');
    if (found === undefined) return;
    const owner = [...this.model.names].find(([, value]) => value === named)![0].split(' ');
    const { digest } = await this.registry.find(owner[0]!, `${owner[1]}@${number}`);
    const path = join(this.registry.folder, 'blobs', digest.slice(7), 'adapter_model.safetensors');
    writeFileSync(path, readFileSync(path).fill(1, 300));
    await this.registry.markCorrupt(digest);
    for (const other of this.model.all()) {
      if (other.seed === found.seed && other.state === 'ready') other.state = 'corrupt';
    }
  }

  async restart(): Promise<void> {
    await this.close();
    this.registries = await this.open();
    for (const { lease } of this.leases.splice(0)) lease.release();
    for (const version of this.model.all()) version.leases = 0;
  }

  /** Compares what the registry shows with the model. */
  async compare(): Promise<void> {
    this.model.settle();
    // Drained versions are removed a little later: the database has a thread of its own.
    const until = systemClock.monotonic() + 60_000;
    for (;;) {
      try {
        return await this.compareAll();
      } catch (error) {
        if (systemClock.monotonic() > until) throw error;
        await setTimeout(1);
      }
    }
  }

  async compareAll(): Promise<void> {
    for (const tenant of tenants) {
      const listed = await this.registry.list(tenant, { after: null, limit: 9 });
      const there = names.filter((name) => this.model.of({ tenant, name }).versions.length > 0);
      assert.deepEqual(
        listed.map(({ name }) => name),
        there,
      );
      for (const name of there) await this.compareName({ tenant, name });
    }
  }

  async compareName(owner: Owner): Promise<void> {
    const { versions, aliases } = this.model.of(owner);
    const shown = await this.registry.versions(owner.tenant, owner.name);
    assert.deepEqual(
      shown.map(({ version, state }) => [version, state]),
      versions.map(({ version, state }) => [version, state]).reverse(),
    );
    const pointing = await this.registry.aliases(owner.tenant, owner.name);
    assert.deepEqual(
      pointing.map(({ alias, targets, revision }) => [alias, [targets[0]!.version, revision]]),
      [...aliases].sort(),
    );
  }
}

/** @param kept limit of the versions in memory, and of contents that are remembered as checked */
async function play(t: TestContext, operations: readonly Operation[], kept: number): Promise<void> {
  const [folder, database] = [temporaryFolder(t), await newDatabase()];
  const small = { ...limits, versionsKept: kept, contentsTrusted: kept };
  const run = await playOn(async () => [await testRegistry(t, { folder, database, limits: small })], operations);
  const contents = new Set(run.model.all().map(({ seed }) => seed));
  assert.equal(readdirSync(join(folder, 'blobs')).length, contents.size);
  await database.destroy();
}

async function playOn(open: Run['open'], operations: readonly Operation[]): Promise<Run> {
  const run = new Run(open);
  run.registries = await run.open();
  for (const operation of operations) {
    await run.apply(operation);
    await run.compare();
  }
  for (const { lease, version } of run.leases) {
    lease.release();
    version.leases--;
  }
  assert.ok((await Promise.all(run.deletions)).every((code) => code === null || code === 'server_draining'));
  await run.compare();
  for (const { swept } of run.registries) await swept;
  await run.close();
  return run;
}

/** Plays on three servers with one database and one store, each with a folder of its own. No file is damaged. */
async function playOnThree(t: TestContext, operations: readonly Operation[]): Promise<void> {
  const url = await newDatabaseUrl();
  const store = memoryStore();
  const folders = ['a', 'b', 'c'].map(() => temporaryFolder(t));
  const open = (folder: string, i: number) => replicaRegistry(t, `${i}-${randomUUID()}`, url, { store, folder });
  const run = await playOn(
    () => Promise.all(folders.map(open)),
    operations.filter(({ kind }) => kind !== 'corrupt'),
  );
  const contents = new Set(run.model.all().map(({ seed }) => seed));
  assert.equal(store.objects.size, 2 * contents.size);
}

for (const kept of [limits.versionsKept, 4, 1]) {
  test(`any sequence of uses does what the model does, with ${kept} versions in memory`, async (t) => {
    const counts = { runs: 0, operations: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 60, size: 'max' }), async (operations) => {
        counts.runs++;
        counts.operations += operations.length;
        await play(t, operations, kept);
      }),
      { numRuns: kept === limits.versionsKept ? 30 : 15 },
    );
    t.diagnostic(`${counts.operations} operations in ${counts.runs} runs`);
  });
}

test('three servers do what the model of one does', { skip: withoutPostgres }, async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(operation, { minLength: 1, maxLength: 40, size: 'max' }),
      async (operations) => await playOnThree(t, operations),
    ),
    { numRuns: 5 },
  );
});
