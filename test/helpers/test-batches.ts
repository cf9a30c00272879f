// Batches in a folder of their own, without a server: the test answers their lines.

import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { systemClock, systemTimers } from '../../src/core/clock.ts';
import { limits } from '../../src/core/limits.ts';
import { type Prng, prng } from '../../src/core/prng.ts';
import { type OpenJobs, openTrainingJobs } from '../../src/jobs/jobs.ts';
import type { JobOptions } from '../../src/jobs/options.ts';
import type { AdapterRegistry } from '../../src/registry/adapter-registry.ts';
import { openAdapterRegistry } from '../../src/registry/registry.ts';
import { type Database, openDatabase } from '../../src/storage/database.ts';
import { nodeFiles } from '../../src/storage/files.ts';
import { tinyShape } from '../models/model-folder.ts';
import { fakeTrainer } from './fake-trainer.ts';
import { plainBounds, plainTrainer } from './test-jobs.ts';

export type TestBatches = OpenJobs & { readonly database: Database; close(): Promise<void> };

type InFolder = { readonly open: OpenJobs; readonly registry: AdapterRegistry; readonly database: Database };

/** Opens jobs and batches of a folder, with the fake trainer. */
export async function openJobsIn(
  folder: string,
  random: Prng,
  log: JobOptions['log'],
  more: Partial<JobOptions> = {},
): Promise<InFolder> {
  const shared = { clock: systemClock, timers: systemTimers, newId: randomUUID, files: nodeFiles };
  const database = await openDatabase(join(folder, 'lorikeet.db'));
  const base = { name: 'tiny', digest: `sha256:${'a'.repeat(64)}`, shape: () => tinyShape };
  const registry = await openAdapterRegistry({
    ...{ ...shared, database, base, random, log, limits },
    folder: join(folder, 'adapters'),
    check: () => ({ r: 2, parameters: 64, targetModules: ['q_proj'], warnings: [] }),
  });
  const open = await openTrainingJobs({
    ...{ ...shared, database, registry, log },
    folder: join(folder, 'training'),
    base: { files: { ...base, kind: 'gguf', weights: [], sidecars: {}, source: 'test' }, shape: () => tinyShape },
    startTrainer: fakeTrainer({ stepMs: 1 }).start,
    trainer: { ...plainTrainer, cacheDir: folder },
    engine: { leaveRoom: () => {} },
    share: 0.5,
    restart: { firstDelayMs: 1, delayMsMax: 4, deathsMax: 3 },
    bounds: plainBounds,
    meter: { stepTaken: () => {} },
    newSeed: () => 7,
    ...more,
  });
  return { open, registry, database };
}

export async function openBatchesIn(folder: string, more: Partial<JobOptions> = {}): Promise<TestBatches> {
  const log = { info: () => {}, warn: () => {}, error: () => {} };
  const { open, registry, database } = await openJobsIn(folder, prng(1), log, { batchPlaces: () => 3, ...more });
  return {
    ...open,
    database,
    get trainerPid() {
      return open.trainerPid;
    },
    async close() {
      await open.jobs.close(0);
      await registry.close();
      await database.destroy();
    },
  };
}

const endpoint = '/v1/completions' as const;

/** Makes a batch whose lines ask for their own number. */
export async function newBatch(jobs: OpenJobs, lines: number, tenant = 't'): Promise<string> {
  const text = Array.from({ length: lines }, (_, i) =>
    JSON.stringify({ custom_id: `${i}`, method: 'POST', url: endpoint, body: { id: `${i}` } }),
  ).join('\n');
  return await newBatchOf(jobs, text, tenant);
}

export async function newBatchOf({ files, batches }: OpenJobs, text: string, tenant = 't'): Promise<string> {
  const staged = await files.stage(tenant);
  await staged.rows(Readable.from([Buffer.from(text)]), 'batch');
  const file = await staged.publish({ tenant, createdBy: null, filename: 'b.jsonl', purpose: 'batch' });
  const asked = { createdBy: null, inputFile: file.id, endpoint, metadata: null };
  return (await batches.create(tenant, asked)).id;
}
