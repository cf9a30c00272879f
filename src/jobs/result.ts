// Publishes a trainer's result. Every part may be repeated after a crash without a second effect: the same content
// under the same name is the same version, an alias that has the version stays, and the results file has the job's id.
// The job's row is changed last.

import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { AdapterVersion, Provenance, TrainingRecord } from '../registry/adapter-registry.ts';
import { isMadeBy } from '../registry/made-by.ts';
import { publishFolder } from '../registry/publish-folder.ts';
import type { JobRow } from '../storage/tables.ts';
import { recordChange } from '../tenants/audit.ts';
import { moveAlias } from './alias-move.ts';
import { publishFile } from './files.ts';
import { type JobOutcome, recordOf, resultFileId } from './job-row.ts';
import type { JobParts } from './parts.ts';
import { thinMetrics } from './policies/thin-metrics.ts';
import type { TrainingJobRecord } from './training-jobs.ts';

type Curve = TrainingRecord['curve'];

/** @param epoch the runner's; where another server has taken the job since, that server ends it */
export async function finishJob(parts: JobParts, row: JobRow, outcome: JobOutcome, epoch: number): Promise<void> {
  if (row.epoch !== epoch) return;
  const { options, events, jobs, clock, exclusive } = parts;
  const job = recordOf(row);
  const { tenant, id, spec } = job;
  const say = (sentence: string) => events.say(id, sentence, 'info', { id, epoch });
  await events.flush();
  const curve = await curveOf(parts, id);
  const training = recordOfTraining(job, outcome, thinned(curve, limits.lossCurvePoints));
  const adapter = await publishTrained(parts, job, outcome.folder, (name) => name, training);
  await record(parts, job, 'adapters.publish', adapter, { after: { digest: adapter.digest, job: id } });
  const moved = spec.alias === null ? null : await moveAlias(options.registry, adapter, spec.alias, training);
  if (moved !== null && moved.change !== null) {
    const { before, after } = moved.change;
    const target = `${adapter.name}:${spec.alias!.alias}`;
    await record(parts, job, 'aliases.set', target, {
      before: { targets: before },
      after: { targets: after, job: id },
    });
  }
  await writeResults(parts, job, curve);
  const reference = `${adapter.name}@${adapter.version}`;
  if (outcome.isEarly) await say(`Stopped early at step ${outcome.step}: the validation loss got no better.`);
  await say(`New fine-tuned model created: ${reference}`);
  if (moved !== null) await say(moved.said);
  await say('The job has successfully completed');
  const progress = { ...job.progress, step: outcome.step, trainedTokens: outcome.trainedTokens, finishAt: null };
  const change = { state: 'succeeded', adapter: reference, finished_at: clock.now() };
  const isEnded = await exclusive(() =>
    jobs.change(id, ['running'], { ...change, progress: JSON.stringify(progress) }, epoch),
  );
  if (!isEnded) return;
  events.end(id);
  await parts.forget(id);
  options.log.info({ job: id, tenant, adapter: reference, digest: adapter.digest }, 'a training job succeeded');
}

/** Writes to the audit log. After a crash an entry may be there twice; none is missing. */
async function record(
  { options: { audit, log } }: JobParts,
  { tenant, spec }: TrainingJobRecord,
  action: string,
  target: AdapterVersion | string,
  { before = null, after }: { readonly before?: unknown; readonly after: unknown },
): Promise<void> {
  const name = typeof target === 'string' ? target : `${target.name}@${target.version}`;
  await recordChange(audit, { tenant, actor: spec.createdBy ?? 'anonymous', action, target: name, before, after }, log);
}

/** An adapter name that no other job has. */
export const ownName = (id: string) => id.replace(/^ftjob-/, 'ft-');

/**
 * Publishes a folder under the job's name, or under a name of the job's own where the maker may not publish and the
 * name has versions other than that maker's trainings. The registry decides it as it publishes, since the name may be
 * taken at any moment before. Throws `insufficient_permissions` where others have taken the job's own name as well.
 * @param nameOf makes the adapter's name from the name chosen for the job
 */
async function publishTrained(
  { options: { registry } }: JobParts,
  { tenant, id, spec }: TrainingJobRecord,
  folder: string,
  nameOf: (name: string) => string,
  training?: TrainingRecord,
): Promise<AdapterVersion> {
  const provenance: Provenance = {
    ...{ tenant, createdBy: spec.createdBy, source: 'training', onlyOwnName: !(spec.mayPublish ?? true) },
    ...(training !== undefined && { training }),
  };
  try {
    return await publishFolder(registry, folder, nameOf(spec.adapterName), provenance);
  } catch (error) {
    if (!(error instanceof LorikeetError && error.code === 'insufficient_permissions')) throw error;
    return await publishFolder(registry, folder, nameOf(ownName(id)), provenance);
  }
}

/** All points of the curve that were kept, oldest first. */
async function curveOf({ eventTable }: JobParts, id: string): Promise<Curve> {
  return (await eventTable.metrics(id)).map(({ step, data }) => {
    const { train_loss: trainLoss, valid_loss: validLoss } = JSON.parse(data!) as Record<string, number | undefined>;
    return { step: step!, trainLoss: trainLoss!, validLoss: validLoss ?? null };
  });
}

const thinned = (curve: Curve, most: number): Curve =>
  thinMetrics(
    curve.map((point) => ({ ...point, isValidated: point.validLoss !== null })),
    most,
  ).map(({ step, trainLoss, validLoss }) => ({ step, trainLoss, validLoss }));

function recordOfTraining({ id, spec }: TrainingJobRecord, outcome: JobOutcome, curve: Curve): TrainingRecord {
  return {
    job: id,
    trainingFile: spec.trainingDigest,
    validationFile: spec.validationDigest,
    initial: spec.initial,
    hyperparameters: spec.hyperparameters,
    steps: outcome.step,
    trainedTokens: outcome.trainedTokens,
    validLoss: outcome.bestValidLoss,
    curve,
  };
}

/** Writes OpenAI's results file: a table of the steps. */
async function writeResults(parts: JobParts, { id, tenant }: TrainingJobRecord, curve: Curve): Promise<void> {
  const lines = curve.map(({ step, trainLoss, validLoss }) => `${step},${trainLoss},${validLoss ?? ''}\n`);
  const bytes = Buffer.from(`step,train_loss,valid_loss\n${lines.join('')}`);
  const staged = await parts.folder.stage([bytes], bytes.length, () => {
    throw new Error('It cannot be longer than itself.');
  });
  const about = { tenant, created_by: null, filename: 'step_metrics.csv', purpose: 'fine-tune-results', rows: 0 };
  await publishFile(parts, staged, { ...about, id: resultFileId(id) });
}

/**
 * Publishes a checkpoint as an adapter of another name than the job's, so that the job's name never means a checkpoint.
 */
export async function publishCheckpoint(
  parts: JobParts,
  job: TrainingJobRecord,
  folder: string,
  step: number,
): Promise<AdapterVersion> {
  const adapter = await publishTrained(parts, job, folder, (name) => `${name}/step-${step}`);
  await record(parts, job, 'adapters.publish', adapter, { after: { digest: adapter.digest, job: job.id, step } });
  return adapter;
}

/**
 * Begins to delete a checkpoint's adapter. Versions that other makers have added under its name stay, and so does a
 * version that an alias points to. Each deletion waits for the requests that use the version.
 */
export async function deleteCheckpoint(
  { options: { registry } }: JobParts,
  { tenant, spec: { createdBy } }: TrainingJobRecord,
  name: string,
): Promise<void> {
  const versions = await registry.versions(tenant, name).catch(() => []);
  for (const { version } of versions.filter(isMadeBy({ source: 'training', createdBy }))) {
    registry.delete(tenant, name, version).catch(() => {});
  }
}
