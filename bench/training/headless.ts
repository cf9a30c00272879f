// Runs a training job without a server: the trainer's process alone, driven as the server drives it.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Config, cudaDir, environmentForChildren } from '../../src/config.ts';
import type { ModelFiles } from '../../src/core/base-model.ts';
import { trainerProcessStarter } from '../../src/protocol/trainer-process.ts';
import type { Hyperparameters, TrainerEvent, TrainingJob } from '../../src/protocol/training-messages.ts';
import { mallocEnvironment } from '../../src/runtime/malloc.ts';
import { highWaterBytes } from '../peers/run-process.ts';

/**
 * Settings that the benchmarks do not vary: rows in the file's order, a learning rate that falls linearly to zero,
 * clipping at 1, and nothing random but A.
 */
export const usualHyperparameters = {
  ...{ epochs: null, batchTokens: null, schedule: 'linear', weightDecay: 0, maxGradNorm: 1 },
  ...{ rankPattern: {}, useRslora: false, loraDropout: 0, seed: 1, shuffle: false },
  ...{ maxTokens: 256, evalSteps: 50, checkpointSteps: 50, patience: null, recompute: false },
} as const satisfies Partial<Hyperparameters>;

type JobOptions = {
  readonly model: ModelFiles;
  readonly config: Config;
  readonly threads: number | null;
  readonly trainingFile: string;
  /** File whose first `rows` rows validate; null: no validation. */
  readonly validation: { readonly path: string; readonly rows: number } | null;
  readonly hyperparameters: Hyperparameters;
  /** Folder of the job, which is made where it does not exist. */
  readonly folder: string;
};

export function headlessJob({ model, config, validation, folder, ...rest }: JobOptions): TrainingJob {
  mkdirSync(folder, { recursive: true });
  const validationFile = validation && join(folder, 'validation.jsonl');
  if (validationFile !== null) writeFileSync(validationFile, firstRows(validation!.path, validation!.rows));
  const { weightBits, dataDir, trainingDevice: device, trainingPrecision: precision, ortLibrary } = config;
  return {
    ...{ id: 'bench', model, weightBits, cacheDir: join(dataDir, 'weights'), ortLibrary },
    ...{ device, precision, cudaDir: cudaDir(dataDir) },
    ...{ ...rest, validationFile, initial: null, folder },
  };
}

/** Reads the first `count` lines. */
export function firstRows(path: string, count: number): string {
  return `${readFileSync(path, 'utf8').split('\n').slice(0, count).join('\n')}\n`;
}

export type Trained = {
  readonly ended: Extract<TrainerEvent, { type: 'finished' | 'paused' }>;
  /** Loss of the last validation in this process. */
  readonly validLoss: number | null;
  /** Tokens a second over all steps of this process but the first, which warms up; NaN without any. */
  readonly tokensPerSecond: number;
  readonly cpuSecondsPerStep: number;
  /** Peak memory; 0 where the system does not tell. */
  readonly peakRssBytes: number;
};

const trainerEntry = new URL('../../src/training/main.ts', import.meta.url);

/**
 * Runs the trainer. SIGINT and SIGTERM pause the job, and a later run in its folder resumes it. Rejects where the job
 * or its process fails.
 */
export function runTrainer(job: TrainingJob, onEvent: (event: TrainerEvent) => void): Promise<Trained> {
  const start = trainerProcessStarter(trainerEntry, { ...environmentForChildren(), ...mallocEnvironment });
  const { promise, resolve, reject } = Promise.withResolvers<Trained>();
  const sum = { steps: 0, tokens: 0, seconds: 0 };
  let [peakRssBytes, validLoss, cpuSeconds] = [0, null as number | null, null as number | null];
  const child = start({ onEvent: take, onExit: (reason) => reject(new Error(`The trainer ${reason}.`)) });
  const pause = () => child.send({ type: 'pause' });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, pause);
  child.send({ type: 'start', job });
  return promise.finally(() => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, pause);
  });

  function take(event: TrainerEvent): void {
    peakRssBytes = Math.max(peakRssBytes, highWaterBytes(child.pid ?? 0));
    onEvent(event);
    if (event.type === 'step') {
      const { tokens, tokensPerSecond } = event.metrics;
      if (cpuSeconds === null) cpuSeconds = processorSeconds(child.pid);
      else {
        sum.steps++;
        sum.tokens += tokens;
        sum.seconds += tokens / tokensPerSecond;
      }
      validLoss = event.metrics.validLoss ?? validLoss;
    }
    if (event.type === 'failed') reject(new Error(event.message));
    if (event.type !== 'finished' && event.type !== 'paused') return;
    const cpuSecondsPerStep = (processorSeconds(child.pid) - (cpuSeconds ?? 0)) / sum.steps;
    resolve({ ended: event, validLoss, tokensPerSecond: sum.tokens / sum.seconds, cpuSecondsPerStep, peakRssBytes });
  }
}

/**
 * Processor seconds of all threads of a process so far, read in hundredths on Linux; 0 where the system does not tell.
 */
function processorSeconds(pid: number | undefined): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return 0;
  }
}
