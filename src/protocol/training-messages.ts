// Everything that crosses the boundary between the server and the trainer: plain typed values, no tensors. One trainer
// process has one job at a time; files are opened by the trainer itself.

import type { AdapterFiles, TargetModule } from '../core/adapter.ts';
import type { ModelFiles } from '../core/base-model.ts';
import type { ErrorCode } from '../core/errors.ts';
import type { TrainingMemory } from '../core/training-memory.ts';
import type { WeightBits } from './messages.ts';

export type LearningRateSchedule = 'constant' | 'linear' | 'cosine';

/** Every choice made: the server has filled in the defaults. */
export type Hyperparameters = {
  /** Exactly one of the two is null. */
  readonly epochs: number | null;
  readonly maxSteps: number | null;
  /** Rows an optimiser step; null where `batchTokens` counts. */
  readonly batchRows: number | null;
  /** Tokens an optimiser step, rows taken whole; null where `batchRows` counts. */
  readonly batchTokens: number | null;
  readonly learningRate: number;
  readonly schedule: LearningRateSchedule;
  readonly warmupSteps: number;
  readonly weightDecay: number;
  /** Gradients are scaled to at most this norm; null: as they are. */
  readonly maxGradNorm: number | null;
  readonly r: number;
  readonly loraAlpha: number;
  readonly targetModules: readonly TargetModule[];
  /** Module names or patterns by PEFT's rule, and their ranks. */
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly useRslora: boolean;
  readonly loraDropout: number;
  readonly seed: number;
  /** Rows in another order each epoch, drawn from the seed; false: the file's order. */
  readonly shuffle: boolean;
  /** Longer rows are cut, and counted. */
  readonly maxTokens: number;
  /** Optimiser steps between validations, and between checkpoints. */
  readonly evalSteps: number;
  readonly checkpointSteps: number;
  /** Validations in a row without a better loss after which the job ends early; null: never. */
  readonly patience: number | null;
  /** Activations are computed again in the backward pass: less memory, more time. */
  readonly recompute: boolean;
};

export type TrainingJob = {
  readonly id: string;
  readonly model: ModelFiles;
  /** As the engine serves: the adapter is trained against the very weights that it will run on. */
  readonly weightBits: WeightBits | null;
  /** Lowered weights, shared with the engine. */
  readonly cacheDir: string;
  /** As in core/device.ts; it need not be the engine's. */
  readonly device: string;
  readonly ortLibrary: string | null;
  /** Where a build of ONNX Runtime with CUDA may have been put. */
  readonly cudaDir: string;
  readonly threads: number | null;
  /** On the processor, what there is for it; left out: nobody knows. */
  readonly memory?: TrainingMemory;
  /**
   * On the processor: computes where a core would idle, or at a low priority beside others; left out: where one idles.
   */
  readonly priority?: 'idle' | 'low';
  /** JSONL of `{prompt, completion}` or `{messages}`, checked by the server; absolute paths. */
  readonly trainingFile: string;
  readonly validationFile: string | null;
  readonly hyperparameters: Hyperparameters;
  /** Starts from this adapter's values instead of fresh ones; its ranks and modules count. */
  readonly initial: AdapterFiles | null;
  /**
   * The trainer's own: `checkpoints/<step>/`, and `result/` with the PEFT folder. What is whole in it is resumed from.
   * It is never made: moved away or removed, it ends the trainer.
   */
  readonly folder: string;
};

export type TrainerCommand =
  | { readonly type: 'start'; readonly job: TrainingJob }
  /** Writes a checkpoint, says `paused` and ends the process: its memory is free. */
  | { readonly type: 'pause' }
  | { readonly type: 'cancel' };

export type TrainingMetrics = {
  /** Optimiser steps done, and to do in all. */
  readonly step: number;
  readonly steps: number;
  readonly epoch: number;
  readonly trainLoss: number;
  readonly validLoss: number | null;
  readonly learningRate: number;
  /** Before clipping. */
  readonly gradNorm: number;
  /** Prompt and completion tokens, padding not counted, of this step. */
  readonly tokens: number;
  readonly tokensPerSecond: number;
  readonly etaSeconds: number;
};

export type TrainerEvent =
  | {
      readonly type: 'started';
      readonly rows: number;
      readonly steps: number;
      /** Rows that were cut at `maxTokens`. */
      readonly rowsCut: number;
      /** Rows without anything to learn, which are left out: every turn of weight 0, or cut off. */
      readonly rowsSkipped?: number;
      readonly parameters: number;
      /** 0, or the step of the checkpoint that it goes on from. */
      readonly resumedStep: number;
    }
  | { readonly type: 'step'; readonly metrics: TrainingMetrics }
  | { readonly type: 'checkpoint'; readonly step: number; readonly validLoss: number | null; readonly folder: string }
  | { readonly type: 'paused'; readonly step: number }
  | {
      readonly type: 'finished';
      readonly step: number;
      readonly trainedTokens: number;
      /** PEFT folder: adapter_config.json and adapter_model.safetensors. */
      readonly folder: string;
      readonly bestValidLoss: number | null;
      readonly isEarly: boolean;
    }
  | { readonly type: 'failed'; readonly code: ErrorCode; readonly message: string; readonly step: number };
