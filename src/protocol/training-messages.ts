// Messages between the server and the trainer: plain typed values, no tensors. One trainer process has one job at a
// time, and opens files by itself.

import type { AdapterFiles, TargetModule } from '../core/adapter.ts';
import type { ModelFiles } from '../core/base-model.ts';
import type { ErrorCode } from '../core/errors.ts';
import type { TrainingMemory } from '../core/training-memory.ts';
import type { TrainingPrecision } from '../core/training-precision.ts';
import type { WeightBits } from './messages.ts';

export type LearningRateSchedule = 'constant' | 'linear' | 'cosine';

/** Hyperparameters of a job, complete: the server has filled in the defaults. */
export type Hyperparameters = {
  /** Passes over the file, or optimiser steps: exactly one of the two is null. */
  readonly epochs: number | null;
  readonly maxSteps: number | null;
  /** Rows in an optimiser step; null where `batchTokens` is given. */
  readonly batchRows: number | null;
  /** Tokens in an optimiser step, of whole rows; null where `batchRows` is given. */
  readonly batchTokens: number | null;
  readonly learningRate: number;
  readonly schedule: LearningRateSchedule;
  readonly warmupSteps: number;
  readonly weightDecay: number;
  /** Largest norm of the gradients, which are scaled down to it; null: no clipping. */
  readonly maxGradNorm: number | null;
  readonly r: number;
  readonly loraAlpha: number;
  readonly targetModules: readonly TargetModule[];
  /** Ranks by module name or pattern, matched by PEFT's rule. */
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly useRslora: boolean;
  readonly loraDropout: number;
  readonly seed: number;
  /** Draws another order of the rows for each epoch from the seed; false: the file's order. */
  readonly shuffle: boolean;
  /** Tokens after which a row is cut. */
  readonly maxTokens: number;
  /** Optimiser steps between validations, and between checkpoints. */
  readonly evalSteps: number;
  readonly checkpointSteps: number;
  /** Validations in a row without a better loss that end the job; null: never. */
  readonly patience: number | null;
  /** Recomputes activations in the backward pass: less memory, more time. */
  readonly recompute: boolean;
};

export type TrainingJob = {
  readonly id: string;
  readonly model: ModelFiles;
  /**
   * Bits of the weights, those that the engine serves, so that the adapter is trained on the weights that it will run
   * on.
   */
  readonly weightBits: WeightBits | null;
  /** Folder of lowered weights, shared with the engine. */
  readonly cacheDir: string;
  /** Name of the device, as in core/device.ts; it may differ from the engine's. */
  readonly device: string;
  /** Float type of products; left out: float32. */
  readonly precision?: TrainingPrecision;
  readonly ortLibrary: string | null;
  /** Folder that may contain a build of ONNX Runtime with CUDA. */
  readonly cudaDir: string;
  readonly threads: number | null;
  /** Memory for a job on the processor; left out: unknown. */
  readonly memory?: TrainingMemory;
  /**
   * How a job on the processor shares the cores: `idle` computes where a core would idle, `low` at a low priority
   * beside others; `idle` by default.
   */
  readonly priority?: 'idle' | 'low';
  /** JSONL rows of `{prompt, completion}` or `{messages}`, already checked by the server. Both paths are absolute. */
  readonly trainingFile: string;
  readonly validationFile: string | null;
  readonly hyperparameters: Hyperparameters;
  /** Adapter whose values, ranks and modules the job starts from; null: fresh ones. */
  readonly initial: AdapterFiles | null;
  /**
   * The job's folder: `checkpoints/<step>/`, and `result/` with the PEFT folder. Training resumes from a complete
   * checkpoint in it. The trainer never creates the folder: where it is moved or removed, the trainer ends.
   */
  readonly folder: string;
};

export type TrainerCommand =
  | { readonly type: 'start'; readonly job: TrainingJob }
  /** Writes a checkpoint, reports `paused` and ends the process, so that its memory is free. */
  | { readonly type: 'pause' }
  | { readonly type: 'cancel' };

export type TrainingMetrics = {
  /** Optimiser steps done, and in all. */
  readonly step: number;
  readonly steps: number;
  readonly epoch: number;
  readonly trainLoss: number;
  readonly validLoss: number | null;
  readonly learningRate: number;
  /** Norm of the gradients before clipping. */
  readonly gradNorm: number;
  /** Prompt and completion tokens of this step, without padding. */
  readonly tokens: number;
  readonly tokensPerSecond: number;
  readonly etaSeconds: number;
};

export type TrainerEvent =
  | {
      readonly type: 'started';
      readonly rows: number;
      readonly steps: number;
      /** Prompt and completion tokens of the steps that are left. */
      readonly tokens: number;
      /** Rows that were cut at `maxTokens`. */
      readonly rowsCut: number;
      /** Rows that are left out because nothing in them is trained: every turn has weight 0 or was cut off. */
      readonly rowsSkipped?: number;
      readonly parameters: number;
      /** Float type of products; left out: float32. */
      readonly precision?: TrainingPrecision;
      /** Step of the checkpoint from which the job resumes; 0 where it starts anew. */
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
