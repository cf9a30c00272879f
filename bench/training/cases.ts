// The cases that bench/training.ts measures, and what each of them prints.

import { type TargetModule, targetModules } from '../../src/core/adapter.ts';
import type { TrainingPrecision } from '../../src/core/training-precision.ts';

export type TrainingCase = {
  /** The model, named as for bench/gpu/model.ts. */
  readonly model: string;
  readonly device: string;
  /** Float type of products; on PEFT's side bfloat16 is torch's autocast. */
  readonly precision: TrainingPrecision;
  readonly threads: number;
  readonly lines: number;
  readonly tokens: number;
  /** Tokens at the end of each line that count in the loss. */
  readonly targets: number;
  readonly modules: readonly TargetModule[];
  readonly r: number;
  readonly recompute: boolean;
  /** Measured steps, after one that is not measured. */
  readonly steps: number;
};

export type TrainingSample = {
  readonly tokensPerSecond: number;
  /** Processor time of all threads: what a step takes of a machine with other work. */
  readonly cpuSecondsPerStep: number;
  readonly peakRssBytes: number;
  readonly loss: number;
};

const allLinears = targetModules.filter((module) => module !== 'lm_head');

export const adapters = {
  'r=4 q,v': { r: 4, modules: ['q_proj', 'v_proj'] },
  'r=16 all linears': { r: 16, modules: allLinears },
} as const satisfies Record<string, Pick<TrainingCase, 'r' | 'modules'>>;

/** Parses the last line that a process has printed. */
export const lastLine = <T>(output: Buffer): T => JSON.parse(output.toString().trim().split('\n').at(-1)!) as T;
