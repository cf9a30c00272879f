// Runs whole training jobs, each side in processes of its own: the same rows in the same order, the same settings, the
// first few steps. PEFT pads the rows of a step to the longest; Lorikeet packs them.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TrainingPrecision } from '../../src/core/training-precision.ts';
import { mallocEnvironment } from '../../src/runtime/malloc.ts';
import { lastLine, type TrainingSample } from './cases.ts';

export type JobCase = {
  readonly model: string;
  readonly device: string;
  readonly precision: TrainingPrecision;
  readonly gguf: string;
  readonly rows: string;
  /** Measured steps, after one that is not measured. */
  readonly steps: number;
  readonly threads: number;
};

export type JobSample = Omit<TrainingSample, 'loss'>;

const root = join(import.meta.dirname, '../..');

export function trainOurs({ model, device, precision, rows, steps, threads }: JobCase): JobSample {
  const out = mkdtempSync(join(tmpdir(), 'lorikeet-bench-training-'));
  try {
    const settings = ['--steps', `${steps + 1}`, '--threads', `${threads}`, '--eval-steps', '1000', '--json'];
    const place = ['--device', device, '--precision', precision];
    const what = ['--model', model, ...place, '--train', rows, '--out', out];
    const args = [join(root, 'bench/train.ts'), ...what, ...settings];
    return lastLine(execFileSync(process.execPath, args, { cwd: root, env: { ...process.env, ...mallocEnvironment } }));
  } finally {
    rmSync(out, { recursive: true });
  }
}

export function trainPeft(python: string, { gguf, rows, steps, threads }: JobCase): JobSample {
  const env = { ...process.env, OMP_NUM_THREADS: String(threads), HF_HUB_OFFLINE: '1' };
  const script = join(root, 'test/parity/train-parity.py');
  const args = [script, gguf, '--train', rows, '--steps', `${steps + 1}`, '--threads', `${threads}`];
  const figures = lastLine<{
    tokens_per_second: number;
    cpu_seconds_per_step: number;
    peak_rss_bytes: number;
  }>(execFileSync(python, args, { env, stdio: ['ignore', 'pipe', 'ignore'] }));
  return {
    tokensPerSecond: figures.tokens_per_second,
    cpuSecondsPerStep: figures.cpu_seconds_per_step,
    peakRssBytes: figures.peak_rss_bytes,
  };
}
