// Everything that crosses the boundary between the server and the engine: plain typed values, no tensors.
// One `step` event carries all rows of a step, so that the channel's cost is per step and not per token.

import type { AppliedAdapter } from '../core/adapter.ts';
import type { Activations, ModelFiles, ModelShape } from '../core/base-model.ts';
import type { DeviceKernels } from '../core/device.ts';
import type { ErrorCode } from '../core/errors.ts';
import type { Grammar, TokenTable } from '../core/grammar.ts';
import type { AdapterBits } from '../core/page-sizes.ts';
import type { Pooling } from '../core/pooling.ts';
import type { SamplingParams } from '../core/sampling-params.ts';
import type { Share } from '../core/share.ts';
import type { TrainingPrecision } from '../core/training-precision.ts';

export type WeightBits = 4 | 8 | 16 | 32;

export type EngineConfig = {
  readonly model: ModelFiles;
  /** Bits of the weights; null keeps the file's own width, or 8 for a file of floats. */
  readonly weightBits: WeightBits | null;
  /** Bits to which decode steps round activations; prompts always use 16. A device does not round. */
  readonly decodeActivations: Activations;
  /** Element type of the KV cache on the processor; float16 by default. */
  readonly kvType?: 'float32' | 'float16';
  /** Bytes of KV blocks; left out: room for a whole context for each sequence. */
  readonly kvBytes?: number;
  /** Bytes of the prefix cache, in KV blocks; left out: there is none. */
  readonly prefixBytes?: number;
  /** All flows share cached prefixes that the base computes without adapters; left out: each flow has its own. */
  readonly sharesBasePrefixes?: boolean;
  /** Speculative decoding while few sequences run, on the processor; left out: none. */
  readonly speculates?: boolean;
  /**
   * Bytes of past answers from which later ones are drafted; left out: drafts come from a sequence's own tokens alone.
   */
  readonly pastTextBytes?: number;
  /** Name of the device, as in core/device.ts. */
  readonly device: string;
  /** Float type of a device's computation; null or left out: the device's default. The processor has none. */
  readonly devicePrecision?: 'float32' | 'float16' | 'bfloat16' | null;
  /** Kernels on a CUDA card; left out: `defaultDeviceKernels`. */
  readonly deviceKernels?: DeviceKernels;
  /** Layout of the KV cache on a CUDA card; `rows` by default. The processor always uses blocks. */
  readonly deviceKv?: 'rows' | 'blocks';
  /** Folder that may contain a build of ONNX Runtime with CUDA. */
  readonly cudaDir?: string;
  /** Path of a libonnxruntime; null takes the one of the onnxruntime-node package. */
  readonly ortLibrary: string | null;
  /** Threads; null takes one for each physical core. */
  readonly threads: number | null;
  readonly maxSequences: number;
  /** Tokens a sequence may hold; null takes the model's context. */
  readonly maxContext: number | null;
  /** Tokens of one step: on the processor of prompts or of answers, on a device of both together. */
  readonly prefillChunk: number;
  /** Bytes of adapters kept in memory; the least recently used are dropped. */
  readonly adapterBytes: number;
  /**
   * Pages of 8 ranks that the adapters of running sequences share; null takes four for each slot and at least 128, or
   * what fits in the memory of a device that reports it.
   */
  readonly adapterPages: number | null;
  /** Bits of adapters' values in the processor's memory; 16 by default. */
  readonly adapterBits?: AdapterBits;
  /** Bytes that merged weights may take beside the base's; left out: every merge is refused. */
  readonly mergeBytes?: number;
  /** Precision of training jobs that compute on the same device; left out: there are none. */
  readonly trainsBeside?: TrainingPrecision;
  /** Folder that caches lowered weights. */
  readonly cacheDir: string;
  /** Bytes of the vocabulary's tokens, for grammars; left out: sequences with a grammar end with an error. */
  readonly tokens?: TokenTable;
};

/**
 * A sequence as the engine knows it: token ids only. `id` is chosen by the client, unique during the channel's life.
 */
export type SequenceRequest = {
  readonly id: number;
  readonly promptTokens: readonly number[];
  readonly params: SamplingParams;
  /** Adapters that apply together; empty: the base model alone. */
  readonly adapters: readonly AppliedAdapter[];
  /**
   * Key of the merge that the sequence may run on; null: none. Left out: any merge of exactly its adapters with the
   * linears' own bits.
   */
  readonly mergeKey?: string | null;
  /** Share that its service counts to; `commonShare` by default. */
  readonly share?: Share;
  /** Milliseconds after which the caller no longer waits; left out: no limit. */
  readonly timeoutMs?: number;
  /** Grammar of the output; left out or null: anything. */
  readonly grammar?: Grammar | null;
  /** Cached prefixes are shared only with requests of the same salt; left out: with requests that have none. */
  readonly cacheSalt?: string;
  /**
   * Alternatives to report, with its own log-probability, for each prompt token; left out: no prompt log-probabilities.
   */
  readonly promptLogprobs?: number;
  /**
   * Nothing is generated: the end brings the pooled vector of the prompt, of length 1. Left out: tokens are generated.
   */
  readonly pooling?: Pooling;
};

/** Adapters to merge into copies of the linears that they touch; sequences that name the key may run on the merge. */
export type MergeRequest = {
  /** Identifies the weights and their bits. */
  readonly key: string;
  readonly adapters: readonly AppliedAdapter[];
  /** Bits of the merged linears; null keeps each linear's own. */
  readonly bits: WeightBits | null;
  /** Token ids of short texts on which merged and unmerged weights are compared; empty: no comparison. */
  readonly probes: readonly (readonly number[])[];
};

/** Comparison of merged with unmerged weights at every position of the probes, in natural logarithms. */
export type MergeQuality = {
  readonly positions: number;
  readonly meanKl: number;
  readonly maxKl: number;
  /** Share of positions whose most likely token is the same, 0..1. */
  readonly top1Agreement: number;
};

/**
 * Progress of a merge. `merging` may repeat with growing progress, and then comes `merged` or `failed`. `unmerged` ends
 * an `unmerge`: the last sequence on the merge has ended, and its memory is given back.
 */
export type MergeEvent =
  | { readonly key: string; readonly state: 'merging'; readonly progress: number }
  | {
      readonly key: string;
      readonly state: 'merged';
      readonly bits: WeightBits;
      /** Memory in addition to the base's: merged weights and their packed forms. */
      readonly bytes: number;
      readonly ms: number;
      readonly quality: MergeQuality | null;
    }
  | { readonly key: string; readonly state: 'failed'; readonly code: ErrorCode; readonly message: string }
  | { readonly key: string; readonly state: 'unmerged' };

export type EngineCommand =
  | { readonly type: 'start'; readonly config: EngineConfig }
  | { readonly type: 'submit'; readonly sequence: SequenceRequest }
  | { readonly type: 'abort'; readonly id: number }
  /** Gives the sequence back if it has not started; otherwise it goes on. An unknown id is no error. */
  | { readonly type: 'release'; readonly id: number }
  | { readonly type: 'merge'; readonly merge: MergeRequest }
  /** Lets no new sequence run on the merge, and drops it when the last one has ended. */
  | { readonly type: 'unmerge'; readonly key: string }
  /** Sets the share of the time left to a training process on the same cores; 0: none trains. */
  | { readonly type: 'room'; readonly share: number }
  /** Asks for an `alive` event. */
  | { readonly type: 'ping' }
  | { readonly type: 'stop' };

/**
 * Natural logarithms of the model's own distribution, before temperature, penalties and filters. `top` has pairs
 * [token, logprob].
 */
export type TokenLogprobs = { readonly logprob: number; readonly top: readonly (readonly [number, number])[] };

export type TokenEvent = {
  readonly id: number;
  readonly token: number;
  readonly logprobs?: TokenLogprobs;
};

export type FinishReason = 'stop' | 'length' | 'abort' | 'error';

export type Timings = { readonly queueMs: number; readonly prefillMs: number; readonly decodeMs: number };

export type SequenceEnd = {
  readonly id: number;
  readonly reason: FinishReason;
  /** The stop token that ended it, which is not part of the output; null otherwise. */
  readonly stopToken: number | null;
  /** `digest` names the adapter at fault, where there is one. */
  readonly error?: { readonly code: ErrorCode; readonly message: string; readonly digest?: string };
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Log-probabilities of each prompt token given the earlier ones, where asked for; the first token's is null. */
  readonly promptLogprobs?: readonly (TokenLogprobs | null)[];
  /** The prompt as one vector, where `pooling` asked for it. */
  readonly embedding?: Float32Array;
  /** Prompt tokens whose keys and values came from the prefix cache. */
  readonly cachedTokens: number;
  /** Bits of the merged weights that it ran on; null: it ran on the base's weights, with its adapters beside them. */
  readonly mergedBits?: WeightBits | null;
  readonly timings: Timings;
};

/** Blocks of the KV cache that sequences can have. In a device's rows a block is a sequence's whole context. */
export type KvBlocks = { readonly blockTokens: number; readonly blocks: number };

export type EngineInfo = {
  readonly model: string;
  readonly digest: string;
  readonly shape: ModelShape;
  readonly maxContext: number;
  readonly maxSequences: number;
  readonly kv: KvBlocks;
  /** Largest rank of an adapter that fits the pages; left out: any rank that an upload may have. */
  readonly adapterRank?: number;
  readonly threads: number;
  readonly device: string;
  readonly weightBits: number;
  /** Milliseconds from the engine's start until it could take a sequence. */
  readonly loadMs: number;
  /** True when lowered weights came from the cache on disk. */
  readonly weightsCached: boolean;
};

export type EngineStats = {
  readonly running: number;
  readonly waiting: number;
  /** Share of the KV cache that running sequences take, 0..1. */
  readonly kvUsage: number;
  /** Sequences that gave up their KV blocks to others and went on later, since the engine started. */
  readonly preemptions: number;
  /** Prompt tokens looked up in the prefix cache, and found, since the engine started; and the cache's bytes now. */
  readonly prefixes?: { readonly queried: number; readonly hit: number; readonly bytes: number };
  /** Speculative decoding since the engine started; left out: the engine does not speculate. */
  readonly speculation?: SpeculationStats;
  readonly steps: number;
  /** Duration of this step, milliseconds. */
  readonly stepMs: number;
  /** Tokens of prompts and answers that this step computed. */
  readonly stepTokens: number;
  readonly adapters: AdapterStats;
  /** Merges that serve, their bytes, and sequences that run on them. */
  readonly merges?: { readonly merged: number; readonly bytes: number; readonly running: number };
};

/** Steps in which a sequence had a draft, drafted tokens, and drafted tokens that were accepted. */
export type SpeculationStats = {
  readonly drafts: number;
  readonly drafted: number;
  readonly accepted: number;
  /** Bytes of past answers from which later ones are drafted. */
  readonly pastTextBytes: number;
};

export type AdapterStats = {
  /** Adapters in memory, and their bytes. */
  readonly resident: number;
  readonly residentBytes: number;
  /** Pages of 8 ranks in use by running sequences, and in all. */
  readonly pagesUsed: number;
  readonly pagesTotal: number;
  /** Bytes of adapters copied into pages in this step: 0 in steady state. */
  readonly copiedBytes: number;
  /** Adapters dropped from memory since the engine started. */
  readonly evictions: number;
};

export const noAdapters: AdapterStats = {
  resident: 0,
  residentBytes: 0,
  pagesUsed: 0,
  pagesTotal: 0,
  copiedBytes: 0,
  evictions: 0,
};

/** An adapter was made ready for a sequence: read from disk, or copied from memory into pages. */
export type AdapterLoad = {
  readonly digest: string;
  readonly tier: 'disk' | 'memory';
  readonly bytes: number;
  readonly ms: number;
};

/** Weights entered or left a place. `digest` is an adapter's digest, or the key of a combination. */
export type AdapterMove = {
  readonly digest: string;
  readonly place: 'memory' | 'pages';
  readonly isThere: boolean;
};

export type EngineEvent =
  | { readonly type: 'ready'; readonly info: EngineInfo }
  | {
      readonly type: 'step';
      /** Sequences that left the queue and began prefill in this step. */
      readonly started: readonly number[];
      readonly tokens: readonly TokenEvent[];
      readonly ended: readonly SequenceEnd[];
      /** Sequences given back on `release` before they had started; left out: none. */
      readonly released?: readonly number[];
      readonly loads: readonly AdapterLoad[];
      /** Moves since the step before. */
      readonly moves: readonly AdapterMove[];
      readonly stats: EngineStats;
    }
  | { readonly type: 'merge'; readonly merge: MergeEvent }
  /** Answers a ping while there is nothing to run: sequences wait for something that is on its way. */
  | { readonly type: 'alive' }
  | { readonly type: 'failed'; readonly code: ErrorCode; readonly message: string };
