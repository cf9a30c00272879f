// One job from the moment it is taken from the queue until it is over, paused or left to the next start. Starts
// trainers as often as needed, and turns their messages into events, checkpoints and finally an adapter.

import { join } from 'node:path';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { noFailures } from '../protocol/restart-policy.ts';
import type { TrainerEvent, TrainingJob, TrainingMetrics } from '../protocol/training-messages.ts';
import { configName, weightsName } from '../storage/blob-folder.ts';
import type { JobRow } from '../storage/tables.ts';
import type { RunBy } from './events.ts';
import { type JobOutcome, outcomeOf, recordOf } from './job-row.ts';
import { type JobParts, workFolder } from './parts.ts';
import { restartAfterDeath } from './policies/trainer-restart.ts';
import { firstPriority, type TrainerPriority } from './policies/training-floor.ts';
import { deleteCheckpoint, finishJob, publishCheckpoint } from './result.ts';
import { type TokenQuota, tokenQuota } from './token-quota.ts';
import { fetchInitial, shareCheckpoints, takeTrainerFolder } from './trainer-folder.ts';
import { startTrainerLife, type TrainerLife } from './trainer-life.ts';
import type { JobEvent, JobFailure, TrainingJobRecord } from './training-jobs.ts';
import { watchPriority } from './watch-priority.ts';

/** Milliseconds between two tries to register a result. */
const retryMs = 5000;
/** Errors that pass by themselves: the engine loads, or others upload. */
const passing: ReadonlySet<string> = new Set(['engine_unavailable', 'too_many_uploads', 'server_overloaded']);

export class RunningJob {
  /** Number of trainers that were started after one died. */
  restarts = 0;
  readonly id: string;
  readonly #parts: JobParts;
  readonly #job: TrainingJobRecord;
  readonly #by: RunBy;
  readonly #stop = new AbortController();
  #life: TrainerLife | null = null;
  #hasProgressed = false;
  /** Whether it is stopping for another tenant's job, to continue later. */
  #isYielding = false;
  /** Whether it is stopping to continue at once with another priority. */
  #isChanging = false;
  /** The failure by a bound that it exceeded. */
  #broken: JobFailure | null = null;
  #priority: TrainerPriority;
  #trainedMs: number;
  #lastStepAt = 0;
  #checkpoints: Promise<unknown> = Promise.resolve();
  readonly #tokens: TokenQuota;

  constructor(parts: JobParts, row: JobRow) {
    this.#parts = parts;
    this.#job = recordOf(row);
    this.id = row.id;
    this.#priority = firstPriority(parts.options.bounds.priority);
    this.#trainedMs = this.#job.progress.trainedMs ?? 0;
    this.#by = { id: row.id, epoch: row.epoch };
    this.#tokens = tokenQuota(parts, { tenant: row.tenant, keyPrefix: this.#job.spec.createdBy });
  }

  get epoch(): number {
    return this.#by.epoch;
  }

  get pid(): number | null {
    return this.#life?.pid ?? null;
  }

  /** Stops the trainer; the row is changed already. `run` resolves when the process is gone. */
  pause(ms: number = limits.trainerPauseMs): void {
    this.#stop.abort();
    this.#life?.pause(ms);
  }

  cancel(): void {
    this.#stop.abort();
    this.#life?.cancel();
  }

  /** Writes a checkpoint and ends, unless it is nearly over; the job then waits in the queue again. */
  yieldTurn(): void {
    if (this.#life === null) return;
    this.#isYielding = true;
    this.#life.pause(limits.trainerPauseMs);
  }

  async run(): Promise<void> {
    const row = await this.#parts.jobs.get(this.id);
    // The job was cancelled or paused just after it was taken.
    if (row?.state !== 'running' || row.epoch !== this.#by.epoch) return;
    const outcome = (await this.#outcomeHere(row)) ?? (await this.#train());
    if (outcome !== null && !this.#stop.signal.aborted) await this.#finish(outcome);
    else if (this.#isYielding && this.#broken === null) await this.#waitAgain();
  }

  /**
   * The stored outcome, if its folder is here. Another server's folder is not: then the last steps are repeated here.
   */
  async #outcomeHere(row: JobRow): Promise<JobOutcome | null> {
    const { jobs, options, exclusive } = this.#parts;
    const outcome = outcomeOf(row);
    if (outcome === null || (await options.files.stat(outcome.folder)) !== null) return outcome;
    await exclusive(() => jobs.change(this.id, ['running'], { outcome: null }, this.#by.epoch));
    return null;
  }

  /** Puts the job back into its old place among its tenant's jobs. */
  async #waitAgain(): Promise<void> {
    const { jobs, exclusive } = this.#parts;
    if (await exclusive(() => jobs.change(this.id, ['running'], { state: 'queued' }, this.#by.epoch))) {
      await this.#parts.events.say(this.id, "Another tenant's job has its turn; this one goes on after it");
    }
  }

  /** @returns the outcome; null where the job is over or stopped. */
  async #train(): Promise<JobOutcome | null> {
    const { options } = this.#parts;
    for (let history = noFailures; !this.#stop.signal.aborted && !this.#isYielding; this.restarts++) {
      this.#isChanging = false;
      const end = await this.#live();
      if (this.#broken !== null && end.type !== 'finished') return await this.#fail(this.#broken);
      if (end.type === 'stopped' && this.#isChanging && !this.#isYielding) continue;
      if (end.type === 'stopped') return null;
      if (end.type === 'failed') return await this.#fail(end.failure);
      if (end.type === 'finished') return await this.#keep(end.outcome);
      const restart = restartAfterDeath(history, this.#hasProgressed, options.restart);
      options.log.error({ job: this.id, reason: end.reason, restartInMs: restart?.delayMs }, 'the trainer died');
      if (restart === null) {
        const message = `The trainer ${end.reason}, ${options.restart.deathsMax} times without getting further.`;
        return await this.#fail({ code: 'training_failed', message, param: null });
      }
      history = restart.history;
      await this.#say(`The trainer ${end.reason} and is started again.`, 'warn');
      await this.#wait(restart.delayMs);
    }
    return null;
  }

  /** Runs one trainer process to its end. */
  async #live() {
    const { startTrainer, timers, engine, share } = this.#parts.options;
    this.#hasProgressed = false;
    const onEvent = (event: TrainerEvent) => this.#hear(event);
    const job = await this.#order();
    if (this.#stop.signal.aborted) return { type: 'stopped' } as const;
    const life = startTrainerLife({ startTrainer, timers, job, onEvent });
    this.#life = life;
    // A bound may be exceeded already.
    if (this.#broken !== null) life.cancel();
    engine.leaveRoom(share);
    const around = { ...this.#parts.options, clock: this.#parts.clock };
    const stopWatch = watchPriority(around, life, this.#priority, (next) => this.#goOnAs(next));
    const end = await life.ended;
    stopWatch();
    engine.leaveRoom(0);
    this.#life = null;
    await this.#checkpoints;
    await this.#parts.events.flush();
    return end;
  }

  /**
   * Restarts the trainer with another priority. One that stands still cannot write a checkpoint in time and continues
   * from the last one.
   */
  #goOnAs(priority: TrainerPriority): void {
    const { log } = this.#parts.options;
    log.info({ job: this.id, from: this.#priority, to: priority }, 'a trainer goes on with another priority');
    this.#priority = priority;
    this.#isChanging = true;
    this.#life?.pause(limits.trainerPauseMs);
  }

  async #order(): Promise<TrainingJob> {
    const { options, folder } = this.#parts;
    const { id, spec } = this.#job;
    const initial = join(workFolder(this.#parts, id), 'initial');
    if (spec.initial !== null) await fetchInitial(this.#parts, id);
    for (const digest of [spec.trainingDigest, spec.validationDigest]) if (digest !== null) await folder.fetch(digest);
    return {
      id,
      model: options.base.files,
      ...options.trainer,
      priority: this.#priority,
      trainingFile: folder.pathOf(spec.trainingDigest),
      validationFile: spec.validationDigest === null ? null : folder.pathOf(spec.validationDigest),
      hyperparameters: spec.hyperparameters,
      initial:
        spec.initial === null
          ? null
          : { digest: spec.initial, config: join(initial, configName), weights: join(initial, weightsName) },
      folder: await takeTrainerFolder(this.#parts, id),
    };
  }

  #hear(event: TrainerEvent): void {
    if (event.type === 'started') this.#started(event);
    else if (event.type === 'step') this.#stepped(event.metrics);
    else if (event.type === 'checkpoint') {
      this.#hasProgressed = true;
      this.#checkpoints = this.#checkpoints.then(() => this.#checkpoint(event)).catch((error) => this.#warn(error));
    }
  }

  #started(started: Extract<TrainerEvent, { type: 'started' }>): void {
    const { rows, steps, rowsCut, rowsSkipped = 0, parameters, precision, resumedStep } = started;
    const { events, options, clock } = this.#parts;
    this.#lastStepAt = clock.monotonic();
    const { stepsMax } = options.bounds;
    if (steps > stepsMax)
      this.#break(trainingFailed(`It would take ${steps} steps; this server's limit is ${stepsMax}.`));
    // No step is taken of a job that would end in the middle.
    this.#tokens.assertRoom(started.tokens).catch((error) => this.#breakAtQuota(error, 'cancel'));
    const skipped = rowsSkipped === 0 ? '' : `, ${rowsSkipped} rows without a target were skipped`;
    const cut = `${rowsCut === 0 ? '' : `, ${rowsCut} rows were cut`}${skipped}`;
    const from = resumedStep === 0 ? 'Training started' : `Training goes on from step ${resumedStep}`;
    const products = precision === undefined || precision === 'float32' ? '' : `, products in ${precision}`;
    const sentence = `${from}: ${rows} rows, ${steps} steps, ${parameters} parameters${products}${cut}`;
    // Both are queued at once, so that the event of a cancellation comes after them.
    const said = Promise.all([events.rewind(this.#by, resumedStep), this.#say(sentence)]);
    said.catch((error) => this.#warn(error));
  }

  #stepped(metrics: TrainingMetrics): void {
    const { events, clock, options } = this.#parts;
    const { step, steps, trainLoss, validLoss } = metrics;
    const now = clock.monotonic();
    this.#trainedMs += now - this.#lastStepAt;
    this.#lastStepAt = now;
    const valid = validLoss === null ? '' : `, validation loss=${validLoss.toFixed(4)}`;
    const finishAt = clock.now() + metrics.etaSeconds * 1000;
    events.metrics(this.#by, `Step ${step}/${steps}: training loss=${trainLoss.toFixed(4)}${valid}`, dataOf(metrics), {
      ...{ step, steps, trainedTokens: 0, trainedMs: Math.round(this.#trainedMs), finishAt },
    });
    const { trainingMsMax } = options.bounds;
    if (this.#trainedMs > trainingMsMax) {
      const hours = (trainingMsMax / 3_600_000).toFixed(2);
      this.#break(trainingFailed(`It has trained for ${hours} hours, this server's limit.`));
    }
    options.meter.stepTaken(metrics, this.#job.tenant);
    try {
      if (step < steps) this.#tokens.assertStep(metrics.tokens);
    } catch (error) {
      this.#breakAtQuota(error, 'pause');
    }
  }

  /** Ends the job as failed. Its published checkpoints stay; `pause` makes one of the last step first. */
  #break(failure: JobFailure, how: 'pause' | 'cancel' = 'cancel'): void {
    if (this.#broken !== null) return;
    this.#broken = failure;
    if (how === 'pause') this.#life?.pause(limits.trainerPauseMs);
    else this.#life?.cancel();
  }

  #breakAtQuota(error: unknown, how: 'pause' | 'cancel'): void {
    if (error instanceof LorikeetError && error.code === 'insufficient_quota') this.#break(failureOf(error), how);
    else this.#warn(error);
  }

  async #checkpoint({ step, validLoss, folder }: Extract<TrainerEvent, { type: 'checkpoint' }>): Promise<void> {
    const { eventTable, clock, options } = this.#parts;
    const { id } = this.#job;
    if ((await this.#parts.jobs.get(id))?.epoch !== this.#by.epoch) return;
    await shareCheckpoints(this.#parts, this.#by, folder);
    // A checkpoint with only the optimiser's state is no adapter.
    if ((await options.files.stat(join(folder, configName))) === null) return;
    const { name } = await publishCheckpoint(this.#parts, this.#job, folder, step);
    const train_loss = await this.#lossAt(step);
    const about = { created_at: clock.now(), train_loss, valid_loss: validLoss, adapter: name };
    await eventTable.addCheckpoint({ job: id, step, ...about });
    const kept = await eventTable.checkpoints(id, Number.MAX_SAFE_INTEGER, limits.jobCheckpoints + 1);
    const old = kept.slice(limits.jobCheckpoints);
    for (const checkpoint of old) {
      await eventTable.removeCheckpoint(id, checkpoint.step);
      await deleteCheckpoint(this.#parts, this.#job, checkpoint.adapter);
    }
  }

  async #lossAt(step: number): Promise<number | null> {
    await this.#parts.events.flush();
    const data = await this.#parts.eventTable.dataAt(this.id, step);
    return data === undefined ? null : ((JSON.parse(data) as { train_loss: number }).train_loss ?? null);
  }

  /** Stores the outcome before anything is made of it; null where the job was stopped meanwhile. */
  async #keep(outcome: JobOutcome): Promise<JobOutcome | null> {
    const { jobs, exclusive } = this.#parts;
    const isKept = await exclusive(() =>
      jobs.change(this.id, ['running'], { outcome: JSON.stringify(outcome) }, this.#by.epoch),
    );
    return isKept ? outcome : null;
  }

  async #finish(outcome: JobOutcome): Promise<void> {
    const { jobs } = this.#parts;
    while (!this.#stop.signal.aborted) {
      try {
        return await finishJob(this.#parts, (await jobs.get(this.id))!, outcome, this.#by.epoch);
      } catch (error) {
        if (error instanceof LorikeetError && error.code === 'server_draining') return;
        if (!(error instanceof LorikeetError && passing.has(error.code))) {
          this.#warn(error);
          return void (await this.#fail(failureOf(error)));
        }
        await this.#wait(retryMs);
      }
    }
  }

  async #fail(failure: JobFailure): Promise<null> {
    const { jobs, events, options, clock, exclusive } = this.#parts;
    await this.#say(failure.message, 'error');
    const change = { state: 'failed', error: JSON.stringify(failure), finished_at: clock.now() };
    if (!(await exclusive(() => jobs.change(this.id, ['running'], change, this.#by.epoch)))) return null;
    events.end(this.id);
    options.log.error({ job: this.id, ...failure }, 'a training job failed');
    await this.#parts.forget(this.id);
    return null;
  }

  #wait(ms: number): Promise<void> {
    const { signal } = this.#stop;
    return new Promise((resolve) => {
      const cancel = this.#parts.options.timers.after(ms, resolve);
      const onStop = () => {
        cancel();
        resolve();
      };
      if (signal.aborted) onStop();
      else signal.addEventListener('abort', onStop, { once: true });
    });
  }

  #say(sentence: string, level: JobEvent['level'] = 'info'): Promise<void> {
    return this.#parts.events.say(this.id, sentence, level, this.#by);
  }

  #warn(error: unknown): void {
    this.#parts.options.log.warn({ err: error, job: this.id }, 'something a trainer said could not be kept');
  }
}

const trainingFailed = (message: string): JobFailure => ({ code: 'training_failed', message, param: null });

/** An error without a code is described only in the log. */
function failureOf(error: unknown): JobFailure {
  if (error instanceof LorikeetError) return { code: error.code, message: error.message, param: error.param };
  return { code: 'training_failed', message: 'The result could not be registered.', param: null };
}

function dataOf(metrics: TrainingMetrics): Record<string, number> {
  const { validLoss } = metrics;
  return {
    step: metrics.step,
    total_steps: metrics.steps,
    epoch: metrics.epoch,
    train_loss: metrics.trainLoss,
    ...(validLoss === null ? {} : { valid_loss: validLoss }),
    learning_rate: metrics.learningRate,
    grad_norm: metrics.gradNorm,
    tokens: metrics.tokens,
    tokens_per_second: metrics.tokensPerSecond,
    eta_seconds: metrics.etaSeconds,
  };
}
