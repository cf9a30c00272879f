// The real jobs over a registry's database with the fake trainer, opened for one test and closed after it.

import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { TestContext } from 'node:test';
import { systemClock, systemTimers } from '../../src/core/clock.ts';
import { type OpenJobs, openTrainingJobs } from '../../src/jobs/jobs.ts';
import type { JobOptions, TrainerConfig, TrainingBounds } from '../../src/jobs/options.ts';
import type { TrainingFile } from '../../src/jobs/training-files.ts';
import type { HyperparameterChoices, JobState, NewJob, TrainingJobRecord } from '../../src/jobs/training-jobs.ts';
import { nodeFiles } from '../../src/storage/files.ts';
import { tinyShape } from '../models/model-folder.ts';
import { type FakeTrainer, type FakeTrainerOptions, fakeTrainer } from './fake-trainer.ts';
import { type LogLine, type TestRegistry, testBase, testRegistry } from './test-registry.ts';
import { testCudaDir, testDeviceName } from './test-runtime.ts';
import { waitFor } from './waits.ts';

export type TestJobs = OpenJobs & {
  readonly trainer: FakeTrainer;
  readonly registry: TestRegistry;
  readonly log: LogLine[];
  /** Uploads rows. */
  file(options?: { rows?: number; tenant?: string }): Promise<TrainingFile>;
  /** Makes a job, on a new file where none is given. */
  create(options?: Partial<NewJob> & { tenant?: string; choices?: HyperparameterChoices }): Promise<TrainingJobRecord>;
  /** Waits until a job is in one of these states. */
  reaches(id: string, ...states: JobState[]): Promise<TrainingJobRecord>;
};

export type TestJobsOptions = FakeTrainerOptions & {
  readonly registry?: TestRegistry;
  readonly folder?: string;
  readonly trainer?: FakeTrainer;
  readonly jobs?: Partial<JobOptions>;
  /** Whether the queue waits until `start` is called. */
  readonly isIdle?: boolean;
};

/** Bounds with a turn longer than any test. */
export const plainBounds: TrainingBounds = {
  ...{ turnMs: 3_600_000, stepsMax: 1_000_000, trainingMsMax: Number.POSITIVE_INFINITY, priority: 'idle' },
};

/** Fields of a new job that most tests need not set. */
export const plainJob: Omit<NewJob, 'trainingFile'> = {
  createdBy: null,
  model: testBase.name,
  validationFile: null,
  choices: { maxSteps: 4, checkpointSteps: 2, seed: 1 },
  suffix: null,
  alias: null,
  metadata: null,
};

const rowOf = (i: number) => `{"prompt":"${i} and","completion":" ${i + 1}"}\n`;

export const rowsText = (count: number) => Array.from({ length: count }, (_, i) => rowOf(i)).join('');

/** Configuration of the trainer where a test sets nothing else. */
export const plainTrainer: Omit<TrainerConfig, 'cacheDir'> = {
  ...{ weightBits: null, device: testDeviceName, ortLibrary: null, cudaDir: testCudaDir, threads: null },
};

const setAside = /^(adapter|training) files unknown to the database were moved to the quarantine folder$/;

/**
 * Whether a line of the log reports one content without a row: a kill between content and row leaves one of each kind.
 */
export const isOrphan = ({ message, digests }: { message: string; digests?: readonly string[] }): boolean =>
  setAside.test(message) && digests?.length === 1;

export async function testJobs(t: TestContext, options: TestJobsOptions = {}): Promise<TestJobs> {
  const registry = options.registry ?? (await testRegistry(t));
  const trainer = options.trainer ?? fakeTrainer(options);
  const log: LogLine[] = [];
  let ids = 0;
  const write = (level: LogLine['level']) => (fields: object, message: string) =>
    void log.push({ ...fields, level, message });
  const open = await openTrainingJobs({
    database: registry.database,
    folder: options.folder ?? join(registry.folder, 'training'),
    base: {
      files: { ...testBase, kind: 'gguf', weights: [], sidecars: {}, source: 'test' },
      shape: () => tinyShape,
    },
    registry,
    startTrainer: trainer.start,
    trainer: { ...plainTrainer, cacheDir: registry.folder },
    engine: { leaveRoom: () => {} },
    share: 0.5,
    restart: { firstDelayMs: 1, delayMsMax: 4, deathsMax: 3 },
    bounds: plainBounds,
    meter: { stepTaken: () => {} },
    clock: systemClock,
    timers: systemTimers,
    newId: () => `${systemClock.now().toString(36)}${ids++}`,
    newSeed: () => 7,
    log: { info: write('info'), warn: write('warn'), error: write('error') },
    files: nodeFiles,
    ...options.jobs,
  });
  if (!options.isIdle) open.start();
  t.after(() => open.jobs.close(0));
  return {
    ...open,
    ...scripts(open),
    get trainerPid() {
      return open.trainerPid;
    },
    trainer,
    registry,
    log,
  };
}

function scripts({ files, jobs }: OpenJobs): Pick<TestJobs, 'file' | 'create' | 'reaches'> {
  const file: TestJobs['file'] = async ({ rows = 4, tenant = 'default' } = {}) => {
    const staged = await files.stage(tenant);
    await staged.rows(Readable.from([Buffer.from(rowsText(rows))]), 'fine-tune');
    return await staged.publish({ tenant, createdBy: null, filename: 'rows.jsonl', purpose: 'fine-tune' });
  };
  return {
    file,
    async create({ tenant = 'default', ...job } = {}) {
      const trainingFile = job.trainingFile ?? (await file({ tenant })).id;
      return await jobs.create(tenant, { ...plainJob, trainingFile, ...job });
    },
    async reaches(id, ...states) {
      for (const tenant of ['default', 'a', 'b', 'c']) {
        let job = await jobs.find(tenant, id).catch(() => null);
        if (job === null) continue;
        const isReached = async () => {
          job = await jobs.find(tenant, id);
          return states.includes(job.state);
        };
        await waitFor(() => `${id} to be ${states.join(' or ')}; it is ${job?.state}`, isReached, { everyMs: 2 });
        return job;
      }
      throw new Error(`There is no job ${id}.`);
    },
  };
}
