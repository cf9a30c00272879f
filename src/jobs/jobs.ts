// Opens the jobs: makes the stores, brings folder and database into agreement, and composes the other files of this
// folder.

import { join } from 'node:path';
import { LorikeetError } from '../core/errors.ts';
import { repeatedly } from '../core/repeatedly.ts';
import { fairly } from '../core/serially.ts';
import { batchTable } from '../storage/batch-table.ts';
import { fileFolder } from '../storage/file-folder.ts';
import { fileTable } from '../storage/file-table.ts';
import { jobEventTable } from '../storage/job-event-table.ts';
import { jobTable } from '../storage/job-table.ts';
import { unsharedChanges } from '../storage/replicas/changes.ts';
import { sharedWork } from '../storage/shared-work.ts';
import { orStorageFull } from '../storage/storage-full.ts';
import type { AnswerLine, Batches } from './batches/batches.ts';
import { openBatches } from './batches/open-batches.ts';
import { jobChanging } from './changing.ts';
import { jobEvents } from './events.ts';
import { trainingFiles } from './files.ts';
import { jobReading } from './job-reading.ts';
import type { JobOptions } from './options.ts';
import { type JobParts, workFolder } from './parts.ts';
import { reconcile } from './reconcile.ts';
import { isLost, jobRunner } from './runner.ts';
import type { TrainingFiles } from './training-files.ts';
import { type JobStats, jobStates, type TrainingJobs } from './training-jobs.ts';
import { validateJob } from './validate.ts';

export type OpenJobs = {
  readonly files: TrainingFiles;
  readonly jobs: TrainingJobs;
  readonly batches: Batches;
  /** Begins to train, and with `answer` to answer lines of batches. Before, jobs and batches only wait. */
  start(answer?: AnswerLine): void;
  /** Process id of the running trainer; null: none. */
  readonly trainerPid: number | null;
};

/** Milliseconds between two looks for jobs whose server died while it validated their files. */
const lookMs = 10_000;

/** Opens the jobs, after bringing the folder and the database into agreement. Throws `storage_full`. */
export async function openTrainingJobs(options: JobOptions): Promise<OpenJobs> {
  const end = new AbortController();
  const { parts, onValid, states } = openParts(options, end.signal);
  await orStorageFull(() => reconcile(parts));
  await states.read();
  const files = trainingFiles(parts);
  const runner = jobRunner(parts);
  onValid(() => runner.wake());
  parts.changes.listen({
    apply({ kind, name }) {
      if (kind !== 'job') return;
      parts.events.tell(name);
      runner.look(name);
      void states.read().catch(() => {});
    },
    forgetAll: () => runner.wake(),
  });
  let closing: Promise<void> | null = null;
  let stopLooking = () => {};
  const batches = openBatches({ ...parts, trainingFiles: files });
  return {
    files,
    batches,
    jobs: {
      ...jobReading(parts),
      ...jobChanging(parts, files, runner),
      get stats(): JobStats {
        return { byState: states.counts, trainerRestarts: runner.restarts };
      },
      close(graceMs) {
        stopLooking();
        closing ??= Promise.all([batches.close(), runner.close(graceMs)]).then(() => close(parts, end));
        return closing;
      },
    },
    start(answer) {
      runner.start();
      if (answer !== undefined) batches.start(answer);
      void validateAll(parts);
      if (parts.changes.isShared) stopLooking = repeatedly(options.timers, lookMs, () => validateAll(parts));
    },
    get trainerPid() {
      return runner.pid;
    },
  };
}

function openParts(options: JobOptions, stop: AbortSignal) {
  const { database, files, newId, clock, timers, log, shared = null } = options;
  const queue = fairly();
  const jobs = jobTable(database);
  const states = stateCounts(jobs.countByState);
  const eventTable = jobEventTable(database);
  let wake = () => {};
  const parts: JobParts = {
    ...{ options, clock, newId, jobs, eventTable, stop, batches: batchTable(database) },
    changes: options.changes ?? unsharedChanges(),
    work: shared === null ? null : sharedWork(shared, files),
    files: fileTable(database),
    folder: fileFolder(join(options.folder, 'files'), files, newId, shared),
    events: jobEvents({ clock, timers, log, table: eventTable }),
    exclusive: (work) =>
      queue(async () => {
        stop.throwIfAborted();
        return await orStorageFull(work).finally(() => states.read());
      }),
    async validate(id) {
      await validateJob(parts, id).catch((error) => {
        if (!stop.aborted) log.error({ err: error, job: id }, 'a training job could not be validated');
      });
      wake();
    },
    // A folder that cannot be removed now is removed at the next start.
    async forget(id) {
      await files.remove(workFolder(parts, id)).catch(() => {});
      await parts.work?.remove(id).catch(() => {});
    },
  };
  const onValid = (listener: () => void) => {
    wake = listener;
  };
  return { parts, onValid, states };
}

/** Job counts by state, kept in memory because a scrape of the metrics does not wait for a query. */
function stateCounts(count: () => Promise<Map<string, number>>) {
  const states = {
    counts: {} as Readonly<Record<string, number>>,
    async read(): Promise<void> {
      const found = await count();
      states.counts = Object.fromEntries(jobStates.map((state) => [state, found.get(state) ?? 0]));
    },
  };
  return states;
}

/** Validates jobs whose validating server is gone. Never rejects. */
async function validateAll({ jobs, validate, stop, options, changes }: JobParts): Promise<void> {
  const lost = async () => {
    const living = await changes.living();
    return (await jobs.inStates(['validating_files'])).filter(({ owner }) => isLost(owner, living, changes.id));
  };
  const waiting = await lost().catch((error) => {
    if (!stop.aborted) options.log.error({ err: error }, 'training jobs of the last run could not be validated');
    return [];
  });
  for (const { id } of waiting) await validate(id);
}

async function close(parts: JobParts, end: AbortController): Promise<void> {
  // Waits for writes under way: the database closes next.
  await parts.events.flush().catch(() => {});
  const written = parts.exclusive(async () => {}).catch(() => {});
  end.abort(new LorikeetError('server_draining'));
  await written;
}
