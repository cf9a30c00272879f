// Messages between the server and a one-shot process that works on weights: one piece of work in, one answer out. An
// export's bytes go through the process's standard output; everything else is a message.

import type { AdapterFiles, TargetModule } from '../core/adapter.ts';
import type { FloatType, ModelFiles } from '../core/base-model.ts';
import type { ErrorCode } from '../core/errors.ts';

export type ExportFormat = 'safetensors' | 'gguf';

export type ExportOrder = {
  readonly adapter: AdapterFiles;
  readonly format: ExportFormat;
  /** Element type of the merged weights; for safetensors, and where `unpacked`, of all weights. */
  readonly dtype: FloatType;
  /** GGUF: matrices without an adapter are converted to floats too, instead of keeping the base's bytes. */
  readonly unpacked: boolean;
  /** Name of the result in its own metadata. */
  readonly name: string;
  /** The adapter's own chat template; null or left out: the base's stays. */
  readonly chatTemplate?: string | null;
};

export type AnalysisOrder = {
  readonly adapter: AdapterFiles;
  /** Adapter whose directions are compared with this one's; null: no comparison. */
  readonly against: AdapterFiles | null;
};

export type OfflineWork =
  | ({ readonly kind: 'export'; readonly model: ModelFiles } & ExportOrder)
  | ({ readonly kind: 'analysis'; readonly model: ModelFiles } & AnalysisOrder);

/** `bytes` of an export comes before its data. A failure after that is reported too, and the data ends early. */
export type OfflineEvent =
  | { readonly type: 'bytes'; readonly bytes: number }
  | { readonly type: 'analysis'; readonly analysis: AdapterAnalysis }
  | { readonly type: 'failed'; readonly code: ErrorCode; readonly message: string; readonly param: string | null };

/** Analysis of an adapter's updates, linear by linear: ΔW = scaling · B A. */
export type AdapterAnalysis = {
  readonly usesDora: boolean;
  /** In the order of layers, then of modules; lm_head last. */
  readonly linears: readonly LinearAnalysis[];
};

export type LinearAnalysis = {
  /** null for lm_head. */
  readonly layer: number | null;
  readonly module: TargetModule;
  readonly r: number;
  readonly scaling: number;
  /** The largest singular values of ΔW, descending. */
  readonly singularValues: readonly number[];
  readonly frobeniusNorm: number;
  /** exp of the entropy of σ / Σσ (Roy and Vetterli 2007); 0 where ΔW is zero. */
  readonly effectiveRank: number;
  /** ‖ΔW‖²_F / σ₁² (Rudelson and Vershynin 2007); 0 where ΔW is zero. */
  readonly stableRank: number;
  /** ‖ΔW‖_F / ‖Uᵀ W V‖_F over ΔW's directions (LoRA, section 7.3); null where either norm is zero. */
  readonly amplification: number | null;
  /** null where no adapter is compared, or the other one does not touch this linear. */
  readonly similarity: LinearSimilarity | null;
};

/** φ(i, j) of the directions that ΔW reads from its input, and of the directions that it writes to. */
export type LinearSimilarity = { readonly input: SimilarityGrid; readonly output: SimilarityGrid };

/**
 * phi[a][b] = ‖U_iᵀ U'_j‖²_F / min(i, j) for the i = own[a] and j = other[b] leading directions: 0 where the spaces are
 * orthogonal, 1 where one contains the other.
 */
export type SimilarityGrid = {
  readonly own: readonly number[];
  readonly other: readonly number[];
  readonly phi: readonly (readonly number[])[];
};
