// Makes a trainer from a job: data, weights, starting values or the last checkpoint, graph. The data come first, so
// that a file that cannot be trained on is reported before anything slow begins.

import { join } from 'node:path';
import type { Clock } from '../core/clock.ts';
import { parseDevice } from '../core/device.ts';
import { LorikeetError } from '../core/errors.ts';
import { notOn } from '../core/layer-plan.ts';
import { assertRowsFit, microBatchTokens } from '../core/training-memory.ts';
import { precisionRefusal } from '../core/training-precision.ts';
import { loadWeights } from '../graph/weights.ts';
import { readGguf } from '../models/read-gguf.ts';
import type { TrainerEvent, TrainingJob } from '../protocol/training-messages.ts';
import { createOnnxRuntime } from '../runtime/onnx-runtime.ts';
import type { Runtime } from '../runtime/session.ts';
import { loadTokenizer } from '../tokenizer/load.ts';
import { createMoments } from './adam-w.ts';
import { decodeAdapter, encodeAdapter } from './adapter-bytes.ts';
import { planBatches } from './batches.ts';
import { type AdapterBytes, type Checkpoint, type CheckpointStore, openCheckpoints } from './checkpoint.ts';
import { readDataset } from './dataset.ts';
import { fingerprintOf } from './fingerprint.ts';
import { graphObjective } from './graph-objective.ts';
import type { Objective } from './objective.ts';
import { noProgress } from './progress.ts';
import { startingPoint } from './starting-point.ts';
import { rowEncoder, type TokenRow } from './token-row.ts';
import { Trainer } from './trainer.ts';
import type { WriteFile } from './write-folder.ts';

export type Surroundings = {
  readonly clock: Clock;
  emit(event: TrainerEvent): void;
  /** Called after each micro-batch; rejects to stop the trainer there. */
  between(): Promise<void>;
  /** Replaces the runtime in tests. */
  readonly openRuntime?: typeof openRuntime;
  /** Replaces file writes in tests, to make the disk fail. */
  readonly write?: WriteFile;
  /** Wraps the objective in tests, to make the arithmetic fail. */
  readonly objective?: (made: Objective) => Objective;
};

export type Prepared = {
  readonly trainer: Trainer;
  readonly checkpoints: CheckpointStore;
  /** Encodes the present values. */
  adapter(): AdapterBytes;
  release(): Promise<void>;
};

export async function prepare(job: TrainingJob, around: Surroundings): Promise<Prepared> {
  const { hyperparameters: settings, model: files } = job;
  const encode = rowEncoder(await loadTokenizer(files, (path) => readGguf(path).metadata));
  const dataset = await readDataset(job.trainingFile, encode, settings.maxTokens);
  const { validationFile } = job;
  const validation = validationFile === null ? null : await readDataset(validationFile, encode, settings.maxTokens);
  const { model } = await loadWeights(files, job.weightBits, job.cacheDir, console.warn);
  const { shape } = model;
  const longest = (rows: readonly TokenRow[]) => rows.reduce((most, { tokens }) => Math.max(most, tokens.length), 0);
  const missing = notOn(job.device, shape);
  if (missing !== null) {
    const message = `${files.name} has ${missing}: ${job.device} does not train that.`;
    throw new LorikeetError('model_unsupported', { message });
  }
  const { precision = 'float32' } = job;
  const refusal = precisionRefusal(job.device, precision);
  if (refusal !== null) {
    const message = `Training is to compute with ${precision}, but ${refusal}.`;
    throw new LorikeetError('invalid_config', { message, param: 'LORIKEET_TRAINING_PRECISION' });
  }
  if (settings.maxTokens > shape.context) {
    const message = `max_tokens is ${settings.maxTokens}, but ${files.name} takes at most ${shape.context} tokens.`;
    throw new LorikeetError('invalid_parameter', { message, param: 'max_tokens' });
  }
  if (job.memory !== undefined) {
    assertRowsFit(shape, job.memory, { longestRow: longest(dataset.rows), recompute: settings.recompute });
  }
  const validationRows = validation?.rows ?? null;
  const start = await startingPoint(job, shape);
  const fingerprint = fingerprintOf(job, dataset.rows, validationRows ?? []);
  const checkpoints = await openCheckpoints(join(job.folder, 'checkpoints'), fingerprint, around.write);
  const resumed = await checkpoints.latest();
  const { values, moments, progress } = stateFrom(resumed, start.values, (adapter, into) =>
    decodeAdapter(adapter, into, start.targets, shape),
  );

  const threads = resumed?.threads ?? job.threads;
  const runtime = (around.openRuntime ?? openRuntime)(job, threads);
  const made = await graphObjective(runtime, model, {
    targets: start.targets,
    positions: Math.max(longest(dataset.rows), longest(validationRows ?? [])),
    dropout: settings.loraDropout,
    recompute: settings.recompute,
    precision,
    values,
  });
  const adapter = (of: Float32Array<ArrayBuffer> = values) => encodeAdapter(of, start, shape);
  const lengths = dataset.rows.map(({ tokens }) => tokens.length);
  const batches = planBatches(lengths, settings);
  const trainer = new Trainer(
    {
      ...{ settings, rows: dataset.rows, validationRows, batches, checkpoints, microBatchTokens },
      ...{ objective: around.objective?.(made) ?? made, encodeAdapter: adapter, threads: runtime.threads },
      ...{ clock: around.clock, emit: around.emit, between: around.between },
    },
    { values, moments },
    progress,
    resumed !== null,
  );
  around.emit({
    type: 'started',
    ...{ rows: dataset.rows.length, rowsCut: dataset.cut, rowsSkipped: dataset.skipped },
    ...{ steps: batches.steps, tokens: batches.tokens - progress.trainedTokens },
    ...{ parameters: values.length, precision, resumedStep: progress.step },
  });
  return { trainer, checkpoints, adapter, release: () => made.release() };
}

/** Throws `device_unavailable` with what is missing. */
function openRuntime({ device, ortLibrary: library, cudaDir }: TrainingJob, threads: number | null): Runtime {
  return createOnnxRuntime({ library, threads, spin: true, device: parseDevice(device), cudaDir });
}

function stateFrom(
  resumed: Checkpoint | null,
  values: Float32Array<ArrayBuffer>,
  read: (adapter: AdapterBytes, into: Float32Array<ArrayBuffer>) => void,
) {
  if (resumed === null) return { values, moments: createMoments(values.length), progress: noProgress };
  read(resumed.adapter, values);
  return { values, moments: resumed.moments, progress: resumed.progress };
}
