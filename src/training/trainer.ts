// The training loop: next rows -> gradients over micro-batches -> clip -> AdamW, with validations and checkpoints at
// intervals. The state is always that of the last whole step, so work that a pause or a kill interrupts is done again.

import type { Clock } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import { seedFor } from '../core/prng.ts';
import type { Hyperparameters, TrainerEvent, TrainingMetrics } from '../protocol/training-messages.ts';
import { adamW, type Moments } from './adam-w.ts';
import type { Batches } from './batches.ts';
import type { AdapterBytes, CheckpointStore } from './checkpoint.ts';
import { clipGradients } from './clip.ts';
import { microBatch } from './micro-batch.ts';
import type { Objective } from './objective.ts';
import { packRows } from './packing.ts';
import { type Progress, validated } from './progress.ts';
import { purposes } from './purposes.ts';
import { learningRateAt } from './schedule.ts';
import { countTargets, type TokenRow } from './token-row.ts';

export type TrainerOptions = {
  readonly settings: Hyperparameters;
  readonly rows: readonly TokenRow[];
  readonly validationRows: readonly TokenRow[] | null;
  readonly batches: Batches;
  readonly objective: Objective;
  readonly checkpoints: CheckpointStore;
  readonly encodeAdapter: (values: Float32Array<ArrayBuffer>) => AdapterBytes;
  /** Tokens of a micro-batch, padding included. */
  readonly microBatchTokens: number;
  readonly threads: number;
  readonly clock: Clock;
  emit(event: TrainerEvent): void;
  /** Called after each micro-batch; rejects to stop there. */
  between(): Promise<void>;
};

/** The trained state. `values` are those that the objective reads. */
export type TrainerState = { readonly values: Float32Array<ArrayBuffer>; readonly moments: Moments };

/**
 * Validation rows that are packed together; a pause keeps the sum of all before. As many as a few micro-batches of
 * usual rows.
 */
const validationRowsAtOnce = 32;

export class Trainer {
  #options: TrainerOptions;
  #state: TrainerState;
  #progress: Progress;
  #gradients: Float32Array<ArrayBuffer>;
  /** Steps of this process and their time, from which the remaining time is estimated. */
  #stepped = { steps: 0, seconds: 0 };
  #lastValidation: Progress['best'] = null;
  /** Progress in the newest checkpoint on the disk; null before one is written. */
  #saved: Progress | null;

  /** @param isSaved whether `progress` comes from a checkpoint */
  constructor(options: TrainerOptions, state: TrainerState, progress: Progress, isSaved: boolean) {
    this.#options = options;
    this.#state = state;
    this.#progress = progress;
    this.#gradients = new Float32Array(state.values.length);
    this.#saved = isSaved ? progress : null;
  }

  get progress(): Progress {
    return this.#progress;
  }

  get isEarly(): boolean {
    const { patience } = this.#options.settings;
    return patience !== null && this.#progress.missed >= patience && this.#progress.step < this.#options.batches.steps;
  }

  /** Runs to the last step, or to the validation after which the loss has not improved for too long. */
  async run(): Promise<void> {
    for (;;) {
      if (this.#progress.unvalidated !== null) await this.#validate(this.#progress.unvalidated);
      if (this.#isCheckpointDue()) await this.save();
      if (this.#isLast()) return;
      await this.#step();
    }
  }

  /** Writes a checkpoint of the last whole step, unless it is on the disk already. */
  async save(): Promise<void> {
    const { checkpoints, encodeAdapter, threads, emit } = this.#options;
    const progress = this.#progress;
    if (this.#saved === progress) return;
    const { values, moments } = this.#state;
    await checkpoints.save({ adapter: encodeAdapter(values), moments, progress, threads });
    this.#saved = progress;
    const { step } = progress;
    const validLoss = this.#lastValidation?.step === step ? this.#lastValidation.validLoss : null;
    emit({ type: 'checkpoint', step, validLoss, folder: checkpoints.folderOf(step) });
  }

  async #step(): Promise<void> {
    const { settings, batches, clock } = this.#options;
    const { step } = this.#progress;
    const began = clock.monotonic();
    const { trainLoss, tokens } = await this.#computeGradients(step);
    refuseInfinite('loss', trainLoss, step + 1);
    const gradNorm = clipGradients(this.#gradients, settings.maxGradNorm);
    refuseInfinite('gradient', gradNorm, step + 1);
    const learningRate = learningRateAt(step, batches.steps, settings);
    const { weightDecay } = settings;
    adamW(this.#state.values, this.#gradients, this.#state.moments, { step: step + 1, learningRate, weightDecay });
    const seconds = (clock.monotonic() - began) / 1000;
    this.#stepped = { steps: this.#stepped.steps + 1, seconds: this.#stepped.seconds + seconds };
    const etaSeconds = (this.#stepped.seconds / this.#stepped.steps) * (batches.steps - step - 1);
    const metrics: TrainingMetrics = {
      ...{ step: step + 1, steps: batches.steps, epoch: batches.epochAfter(step + 1) },
      ...{ trainLoss, validLoss: null, learningRate, gradNorm },
      ...{ tokens, tokensPerSecond: tokens / seconds, etaSeconds },
    };
    const trainedTokens = this.#progress.trainedTokens + tokens;
    const isUnvalidated = this.#isValidationDue(step + 1);
    this.#progress = { ...this.#progress, step: step + 1, trainedTokens, unvalidated: isUnvalidated ? metrics : null };
    if (!isUnvalidated) this.#options.emit({ type: 'step', metrics });
  }

  /** Gradients of the mean loss over the step's targets, whichever micro-batch they are in. */
  async #computeGradients(step: number): Promise<{ trainLoss: number; tokens: number }> {
    const { settings, rows: all, batches, objective, microBatchTokens } = this.#options;
    const rows = batches.rowsOf(step).map((row) => all[row]!);
    const weight = 1 / rows.reduce((sum, row) => sum + countTargets(row), 0);
    const lengths = rows.map(({ tokens }) => tokens.length);
    this.#gradients.fill(0);
    let trainLoss = 0;
    for (const [index, packed] of packRows(lengths, microBatchTokens).entries()) {
      const seed = seedFor(settings.seed, purposes.dropout, step, index);
      const batch = microBatch(packed, rows);
      trainLoss += await this.#piece(() => objective.gradients(batch, weight, seed, this.#gradients));
    }
    return { trainLoss, tokens: lengths.reduce((sum, length) => sum + length, 0) };
  }

  async #validate(metrics: TrainingMetrics): Promise<void> {
    const validLoss = await this.#validationLoss(this.#options.validationRows!);
    refuseInfinite('validation loss', validLoss, metrics.step);
    this.#progress = validated(this.#progress, validLoss);
    this.#lastValidation = { step: metrics.step, validLoss };
    this.#options.emit({ type: 'step', metrics: { ...metrics, validLoss } });
    if (this.#progress.best?.step === metrics.step) await this.save();
  }

  /**
   * Mean over target tokens. Goes on from where a pause interrupted it; otherwise long files would never be finished.
   */
  async #validationLoss(rows: readonly TokenRow[]): Promise<number> {
    const { objective, microBatchTokens } = this.#options;
    let { rows: at, sum, targets } = this.#progress.validating ?? { rows: 0, sum: 0, targets: 0 };
    while (at < rows.length) {
      const some = rows.slice(at, at + validationRowsAtOnce);
      const lengths = some.map(({ tokens }) => tokens.length);
      for (const packed of packRows(lengths, microBatchTokens)) {
        const logprobs = await this.#piece(() => objective.logprobs(microBatch(packed, some)));
        for (const logprob of logprobs) sum -= logprob;
        targets += logprobs.length;
      }
      at += some.length;
      this.#progress = { ...this.#progress, validating: { rows: at, sum, targets } };
    }
    return sum / targets;
  }

  async #piece<T>(work: () => Promise<T>): Promise<T> {
    const result = await work();
    await this.#options.between();
    return result;
  }

  #isLast(): boolean {
    return this.#progress.step >= this.#options.batches.steps || this.isEarly;
  }

  #isValidationDue(step: number): boolean {
    const { settings, validationRows, batches } = this.#options;
    return validationRows !== null && (step % settings.evalSteps === 0 || step === batches.steps);
  }

  #isCheckpointDue(): boolean {
    const { step } = this.#progress;
    return step > 0 && (step % this.#options.settings.checkpointSteps === 0 || this.#isLast());
  }
}

function refuseInfinite(what: string, value: number, step: number): void {
  if (Number.isFinite(value)) return;
  const message = `The ${what} of step ${step} is no finite number; a lower learning_rate may help.`;
  throw new LorikeetError('training_failed', { message });
}
