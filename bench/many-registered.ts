// Measures what a registry with very many adapters costs, against one with few: start, memory, an upload, the first use
// of a name, lists. Each runs in a process of its own over a database that was filled before. Contents are in a store
// that servers share, so that registered adapters need no files on this machine.
//
//     node scripts/run.js bench/many-registered.ts [--few 1000] [--many 1000000] [--database postgres://... twice]
//
// Databases given by --database are kept, and --filled measures on them again.

import { spawnSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { systemClock, systemTimers } from '../src/core/clock.ts';
import { limits } from '../src/core/limits.ts';
import { prng } from '../src/core/prng.ts';
import { checkAdapter } from '../src/registry/check-adapter.ts';
import { openAdapterRegistry } from '../src/registry/registry.ts';
import type { Database } from '../src/storage/database.ts';
import { openDatabase } from '../src/storage/database.ts';
import { nodeFiles } from '../src/storage/files.ts';
import type { AdapterRow } from '../src/storage/tables.ts';
import { memoryStore } from '../test/helpers/memory-store.ts';
import { tinyAdapter } from '../test/helpers/tiny-adapters.ts';
import { tinyShape } from '../test/models/model-folder.ts';

const { values: flags } = parseArgs({
  options: {
    few: { type: 'string', default: '1000' },
    many: { type: 'string', default: '1000000' },
    /** An empty database for each of the two counts; SQLite by default. */
    database: { type: 'string', multiple: true },
    filled: { type: 'boolean', default: false },
    measure: { type: 'string' },
    registered: { type: 'string' },
  },
});
const base = { name: 'bench', digest: `sha256:${'a'.repeat(64)}`, shape: () => tinyShape };
const nameOf = (i: number) => `registered/${String(i).padStart(8, '0')}`;
const uploads = 60;
/**
 * First seed of this process's new contents, so that they are new in a database that another process has measured on.
 */
const firstSeed = process.pid * uploads;
const uploadedName = (i: number) => `uploaded/${firstSeed + i}`;

type Figures = Record<string, number>;

if (flags.measure === undefined) await compare();
else console.log(JSON.stringify(await measure(flags.measure, Number(flags.registered))));

async function compare(): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'lorikeet-bench-'));
  try {
    const counts = [Number(flags.few), Number(flags.many)];
    const found: Figures[] = [];
    for (const [index, count] of counts.entries()) {
      const location = flags.database?.[index] ?? join(root, `${count}.db`);
      if (!flags.filled) await fill(location, count);
      const args = ['--measure', location, '--registered', String(count)];
      const child = spawnSync(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), ...args]);
      if (child.status !== 0) throw new Error(child.stderr.toString());
      found.push(JSON.parse(child.stdout.toString().trim().split('\n').at(-1)!));
    }
    const [few, many] = found as [Figures, Figures];
    console.log(
      `${'with so many adapters'.padEnd(48)} ${counts.map((n) => String(n).padStart(10)).join(' ')}      ratio`,
    );
    for (const [what, value] of Object.entries(few)) {
      const figures = [value, many[what]!];
      const ratio = (figures[1]! / figures[0]!).toFixed(2);
      console.log(
        `${what.padEnd(48)} ${figures.map((n) => n.toFixed(2).padStart(10)).join(' ')} ${ratio.padStart(10)}`,
      );
    }
  } finally {
    rmSync(root, { recursive: true });
  }
}

async function fill(location: string, count: number): Promise<void> {
  const database = await openDatabase(location);
  const digest = () => `sha256:${randomBytes(32).toString('hex')}`;
  const perInsert = 1000;
  for (let first = 0; first < count; first += perInsert) {
    const names = Array.from({ length: Math.min(perInsert, count - first) }, (_, i) => nameOf(first + i));
    const rows = names.map((name) => ({
      ...{
        tenant: 'default',
        name,
        version: 1,
        digest: digest(),
        base_digest: base.digest,
        base_name: base.name,
        r: 8,
      },
      ...{
        target_modules: 'q_proj v_proj',
        virtual_tokens: 0,
        parameters: 1e6,
        bytes: 2e6,
        created_at: 1.8e12,
        created_by: null,
      },
      ...{ source: 'upload', state: 'ready', warnings: '[]', template_digest: null },
    }));
    await insert(database, names, rows);
  }
  await database.destroy();
}

async function insert(database: Database, names: readonly string[], rows: AdapterRow[]): Promise<void> {
  await database.transaction().execute(async (transaction) => {
    const counters = names.map((name) => ({ tenant: 'default', name, last_version: 1, last_revision: 0 }));
    await transaction.insertInto('adapter_names').values(counters).execute();
    await transaction.insertInto('adapters').values(rows).execute();
  });
}

async function measure(location: string, registered: number): Promise<Figures> {
  const folder = mkdtempSync(join(tmpdir(), 'lorikeet-bench-'));
  const store = memoryStore();
  let database!: Database;
  const openMs = await timed(async () => {
    database = await openDatabase(location);
  });
  const open = () =>
    openAdapterRegistry({
      ...{ database, folder: join(folder, 'adapters'), base, check: checkAdapter, random: prng(1), limits },
      ...{ newId: randomUUID, clock: systemClock, timers: systemTimers, files: nodeFiles },
      log: { info: () => {}, warn: console.error, error: console.error },
      shared: { store, cacheBytes: 2 ** 40 },
    });
  let registry!: Awaited<ReturnType<typeof open>>;
  const startMs = await timed(async () => {
    registry = await open();
    await registry.swept;
  });
  const memory = () => process.memoryUsage.rss() / 1e6;
  const memoryAtStart = memory();

  const each = async (count: number, work: (i: number) => Promise<unknown>): Promise<number> => {
    const times: number[] = [];
    for (let i = 0; i < count; i++) times.push(await timed(() => work(i)));
    return times.toSorted((a, b) => a - b)[count >> 1]!;
  };
  const upload = async (i: number) => {
    const { config, weights } = tinyAdapter(firstSeed + i);
    const staged = await registry.stage('default');
    await staged.config(config);
    await staged.weights(Readable.from([weights]));
    await staged.publish(uploadedName(i), { tenant: 'default', createdBy: null, source: 'upload' });
  };
  const uploadMs = await each(uploads, upload);
  const random = prng(7);
  const someName = () => nameOf(Math.floor(random() * registered));
  const findMs = await each(uploads, () => registry.find('default', someName()));
  await registry.close();
  registry = await open();
  const lease = async (i: number) => (await registry.lease('default', uploadedName(i % uploads))).release();
  const leaseMs = await each(uploads, lease);
  const hotMs = await each(20_000, lease);
  const limit = 100;
  const pageMs = await each(uploads, () => registry.list('default', { after: someName(), limit }));
  const allMs = await each(uploads, () =>
    registry.listAll({ tenant: null, after: { tenant: 'default', name: someName() }, limit }),
  );
  // Asks for as many names as are kept in memory, and more.
  const atOnce = Array.from({ length: 100 });
  for (let round = 0; round < 300; round++) {
    await Promise.all(atOnce.map(() => registry.find('default', someName())));
  }
  const memoryAtEnd = memory();
  await registry.close();
  await database.destroy();
  rmSync(folder, { recursive: true });
  return {
    'opening the database, ms': openMs,
    'start of the registry, ms': startMs,
    'memory after it, MB': memoryAtStart,
    'upload, ms': uploadMs,
    'first question for a name, ms': findMs,
    'first use after a start, content read whole, ms': leaseMs,
    'lease and release of a known one, us': hotMs * 1000,
    'a page of 100 of one tenant, ms': pageMs,
    'a page of 100 of all, ms': allMs,
    'memory after 30,000 names, MB': memoryAtEnd,
  };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = systemClock.monotonic();
  await work();
  return systemClock.monotonic() - began;
}
