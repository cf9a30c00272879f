// Everything that crosses the boundary between the server and the engine: plain typed values, no tensors.
// One `step` event carries all rows of a step, so that the channel's cost is per step and not per token.

import type { AppliedAdapter } from '../core/adapter.ts';
import type { Activations, ModelFiles, ModelShape } from '../core/base-model.ts';
import type { ErrorCode } from '../core/errors.ts';
import type { Grammar, TokenTable } from '../core/grammar.ts';
import type { AdapterBits } from '../core/page-sizes.ts';
import type { Pooling } from '../core/pooling.ts';
import type { SamplingParams } from '../core/sampling-params.ts';
import type { Share } from '../core/share.ts';

export type WeightBits = 4 | 8 | 16 | 32;

export type EngineConfig = {
  readonly model: ModelFiles;
  /** null keeps the file's own width (or 8 for float files). */
  readonly weightBits: WeightBits | null;
  /** What decode steps round activations to; prompts have 16 bits. A device rounds none. */
  readonly decodeActivations: Activations;
  /** Of keys and values on the processor; left out: float16. */
  readonly kvType?: 'float32' | 'float16';
  /** Of keys and values in blocks; left out: a whole context for each sequence. */
  readonly kvBytes?: number;
  /** Bytes of computed beginnings of prompts that stay for later ones, in blocks; left out: none do. */
  readonly prefixBytes?: number;
  /** Beginnings that the base computes alone are shared by all flows; left out: each flow has its own. */
  readonly sharesBasePrefixes?: boolean;
  /** Few sequences compute ahead what their own tokens let expect, on the processor; left out: none does. */
  readonly speculates?: boolean;
  /** Of answers that later ones are guessed from; left out: they are guessed from their own tokens alone. */
  readonly pastTextBytes?: number;
  /** As in core/device.ts. */
  readonly device: string;
  /** Floats that a device computes with; null or left out: what suits it. The processor takes none. */
  readonly devicePrecision?: 'float32' | 'float16' | null;
  /** On a card; left out: own. */
  readonly deviceKernels?: 'recorded' | 'own' | 'runtime';
  /** Where keys and values lie on a card; left out: in rows. The processor's lie in blocks. */
  readonly deviceKv?: 'rows' | 'blocks';
  /** Where a build of ONNX Runtime with CUDA may have been put. */
  readonly cudaDir?: string;
  /** Path of another libonnxruntime; null takes the one of the onnxruntime-node package. */
  readonly ortLibrary: string | null;
  /** null takes one thread a physical core. */
  readonly threads: number | null;
  readonly maxSequences: number;
  /** Tokens a sequence may hold; null takes the model's context. */
  readonly maxContext: number | null;
  /** Prompt tokens prefilled in one step beside the decoding rows. */
  readonly prefillChunk: number;
  /** Bytes of adapters kept in memory; the least recently used are dropped. */
  readonly adapterBytes: number;
  /**
   * Pages of 8 ranks that the adapters of running sequences share; null takes four a slot and 128 at the least, or what
   * fits in the memory of a device that tells.
   */
  readonly adapterPages: number | null;
  /** Of adapters' values in memory, on the processor; left out: 16. */
  readonly adapterBits?: AdapterBits;
  /** Bytes that merged weights may take beside the base's; left out: none, and every merge is refused. */
  readonly mergeBytes?: number;
  /** Training jobs compute on the same device; false by default. */
  readonly trainsBeside?: boolean;
  /** Folder for lowered weights. */
  readonly cacheDir: string;
  /** What tokens spell, for outputs that have a grammar; left out: such sequences end with an error. */
  readonly tokens?: TokenTable;
};

/** A sequence as the engine knows it: token ids only. `id` is the client's, unique in the life of a channel. */
export type SequenceRequest = {
  readonly id: number;
  readonly promptTokens: readonly number[];
  readonly params: SamplingParams;
  /** Adapters that apply to it, all at once; empty: the base model alone. */
  readonly adapters: readonly AppliedAdapter[];
  /** The merge that it may run on; null: on none. Left out: on one of its adapters' weights, with their own bits. */
  readonly mergeKey?: string | null;
  /** Whose service it counts as; left out: `commonShare`. */
  readonly share?: Share;
  /** Milliseconds after which nobody waits for it any more; left out: somebody always does. */
  readonly timeoutMs?: number;
  /** What its output must look like; left out: anything. */
  readonly grammar?: Grammar | null;
  /** Beginnings are shared only with requests of the same salt; left out: with those that have none. */
  readonly cacheSalt?: string;
  /** Report the prompt's own tokens with this many alternatives each; left out: they are not. */
  readonly promptLogprobs?: number;
  /** Nothing is generated: its end brings one vector of the prompt, of length 1. Left out: tokens are generated. */
  readonly pooling?: Pooling;
};

/** Adapters to merge into a copy of the linears that they touch; sequences that name its key may run on it. */
export type MergeRequest = {
  /** Says which weights, and of which bits. */
  readonly key: string;
  readonly adapters: readonly AppliedAdapter[];
  /** Of the merged linears; null keeps each one's own. */
  readonly bits: WeightBits | null;
  /** Token ids of short texts, on which merged and unmerged are compared; none: they are not. */
  readonly probes: readonly (readonly number[])[];
};

/** Merged against unmerged at every position of the probes, natural logarithms. */
export type MergeQuality = {
  readonly positions: number;
  readonly meanKl: number;
  readonly maxKl: number;
  /** Share of positions whose most likely token is the same, 0..1. */
  readonly top1Agreement: number;
};

/**
 * `merging` may repeat, with growing progress; then `merged` or `failed`. `unmerged` is the end of an `unmerge`: its
 * last sequence has ended and its memory is given back.
 */
export type MergeEvent =
  | { readonly key: string; readonly state: 'merging'; readonly progress: number }
  | {
      readonly key: string;
      readonly state: 'merged';
      readonly bits: WeightBits;
      /** Beside the base's: merged weights and their packed forms. */
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
  /** Gives it back if it has not begun; otherwise it goes on. An unknown id is no error. */
  | { readonly type: 'release'; readonly id: number }
  | { readonly type: 'merge'; readonly merge: MergeRequest }
  /** Takes no new sequence, and goes when the last one has ended. */
  | { readonly type: 'unmerge'; readonly key: string }
  /** Share of the time to leave to a training job's process on the same cores, while there is room; 0: none trains. */
  | { readonly type: 'room'; readonly share: number }
  /** Asks for `alive`. */
  | { readonly type: 'ping' }
  | { readonly type: 'stop' };

/** Natural logarithms of the model's own distribution, before temperature, penalties and filters. */
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
  /** `digest` names the adapter at fault, where one is. */
  readonly error?: { readonly code: ErrorCode; readonly message: string; readonly digest?: string };
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Of each prompt token given those before it; the first one's is null. Where they were asked for. */
  readonly promptLogprobs?: readonly (TokenLogprobs | null)[];
  /** The prompt as one vector, where `pooling` asked for it. */
  readonly embedding?: Float32Array;
  /** Prompt tokens whose KV rows were reused. */
  readonly cachedTokens: number;
  /** It ran on merged weights, of these bits; null: on the base's, its adapter beside them. */
  readonly mergedBits?: WeightBits | null;
  readonly timings: Timings;
};

export type EngineInfo = {
  readonly model: string;
  readonly digest: string;
  readonly shape: ModelShape;
  readonly maxContext: number;
  readonly maxSequences: number;
  /** The largest rank of an adapter that its pages hold; left out: any that an upload may have. */
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
  /** Of the room for keys and values, what running sequences take, 0..1. */
  readonly kvUsage: number;
  /** Sequences that gave their room to others, and went on later, since the engine started. */
  readonly preemptions: number;
  /** Prompt tokens looked for among known beginnings, and found, since the engine started; what these take. */
  readonly prefixes?: { readonly queried: number; readonly hit: number; readonly bytes: number };
  /** Tokens computed ahead, since the engine started; left out: none ever is. */
  readonly speculation?: SpeculationStats;
  readonly steps: number;
  /** Duration of this step, milliseconds. */
  readonly stepMs: number;
  /** Tokens that this step computed, of prompts and of answers. */
  readonly stepTokens: number;
  readonly adapters: AdapterStats;
  /** Merges that serve, and their bytes. */
  readonly merges?: { readonly merged: number; readonly bytes: number; readonly running: number };
};

/** Steps in which a sequence had tokens computed ahead, how many those were, and how many of them were right. */
export type SpeculationStats = {
  readonly drafts: number;
  readonly drafted: number;
  readonly accepted: number;
  /** Memory of answers that later ones are guessed from. */
  readonly pastTextBytes: number;
};

export type AdapterStats = {
  /** Adapters in memory, and their bytes. */
  readonly resident: number;
  readonly residentBytes: number;
  /** Pages of 8 ranks that running sequences use, and pages there are. */
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

/** Weights came into a place, or left it: adapters by digest, several together by their key. */
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
      /** Sequences that were asked back, and had not begun: nothing has come of them. Left out: none. */
      readonly released?: readonly number[];
      readonly loads: readonly AdapterLoad[];
      /** Since the step before. */
      readonly moves: readonly AdapterMove[];
      readonly stats: EngineStats;
    }
  | { readonly type: 'merge'; readonly merge: MergeEvent }
  /** It is between two steps, with nothing to run: what its sequences wait for is on its way. */
  | { readonly type: 'alive' }
  | { readonly type: 'failed'; readonly code: ErrorCode; readonly message: string };
