// An adapter as the rest of the program sees it: pairs of small matrices beside linears of the base model, and the
// files that hold them. h = W x + scaling * B A x, with A [r, in] and B [out, r] (LoRA, arXiv 2106.09685).

import type { ModelShape } from './base-model.ts';

/** The linears that an adapter may touch, by PEFT's names. */
export const targetModules = [
  'q_proj',
  'k_proj',
  'v_proj',
  'o_proj',
  'gate_proj',
  'up_proj',
  'down_proj',
  'lm_head',
] as const;
export type TargetModule = (typeof targetModules)[number];

/** Modules that some families have in place of several linears: the rows of the linears lie below each other. */
export const fusedModules = {
  qkv_proj: ['q_proj', 'k_proj', 'v_proj'],
  gate_up_proj: ['gate_proj', 'up_proj'],
} as const satisfies Readonly<Record<string, readonly TargetModule[]>>;
export type FusedModule = keyof typeof fusedModules;

/** Finds the fused module that may hold the rows of `module`; null for a linear that no family fuses. */
export function fusedModuleOf(module: TargetModule): FusedModule | null {
  const found = Object.entries(fusedModules).find(([, parts]) => (parts as readonly TargetModule[]).includes(module));
  return (found?.[0] as FusedModule | undefined) ?? null;
}

/** Names the module under which PEFT addresses a linear of such a model: its own name, or the fused module's. */
export const peftModuleOf = (
  { fusedRows }: Pick<ModelShape, 'fusedRows'>,
  module: TargetModule,
): TargetModule | FusedModule => (fusedRows && fusedModuleOf(module)) || module;

/** Inputs and outputs of a linear, whose weight is [out, in]. */
export type LinearSize = { readonly in: number; readonly out: number };

export function linearSize(shape: ModelShape, module: TargetModule | FusedModule): LinearSize {
  const { hidden, intermediate, heads, kvHeads, headDim, vocabulary } = shape;
  switch (module) {
    case 'q_proj':
      return { in: hidden, out: heads * headDim };
    case 'k_proj':
    case 'v_proj':
      return { in: hidden, out: kvHeads * headDim };
    case 'o_proj':
      return { in: heads * headDim, out: hidden };
    case 'gate_proj':
    case 'up_proj':
      return { in: hidden, out: intermediate };
    case 'down_proj':
      return { in: intermediate, out: hidden };
    case 'lm_head':
      return { in: hidden, out: vocabulary };
    case 'qkv_proj':
    case 'gate_up_proj': {
      const outs = fusedModules[module].map((part) => linearSize(shape, part).out);
      return { in: hidden, out: outs.reduce((sum, out) => sum + out, 0) };
    }
  }
}

/** An adapter's files, which the engine opens by itself. */
export type AdapterFiles = {
  /** `sha256:<hex>` over both files. It names the weights wherever it matters exactly which weights are meant. */
  readonly digest: string;
  /** Absolute paths of adapter_config.json and adapter_model.safetensors. */
  readonly config: string;
  readonly weights: string;
};

/** An adapter as one sequence uses it. `scale` multiplies the adapter's contribution; 1 is what its author meant. */
export type AppliedAdapter = {
  readonly files: AdapterFiles;
  readonly scale: number;
  /**
   * Virtual tokens that the adapter puts before the text (prefix and prompt tuning); left out: it has pairs instead.
   */
  readonly virtualTokens?: number;
};

/** The content and scale of an adapter: all that decides the weights of a sequence or a merge. */
type Applied = { readonly files: Pick<AdapterFiles, 'digest'>; readonly scale: number };

/**
 * Adds the scales of adapters with equal content, keeping the order: W + s BA + t BA is W + (s + t) BA. Two names may
 * mean the same content.
 */
export function combineAdapters<A extends Applied>(adapters: readonly A[]): A[] {
  const byDigest = new Map<string, A>();
  for (const adapter of adapters) {
    const first = byDigest.get(adapter.files.digest);
    byDigest.set(adapter.files.digest, first ? { ...first, scale: first.scale + adapter.scale } : adapter);
  }
  return [...byDigest.values()];
}

/** Keeps the adapters that change weights, and leaves out those that only add virtual tokens. */
export const withPairs = <A extends { readonly virtualTokens?: number }>(adapters: readonly A[]): A[] =>
  adapters.filter(({ virtualTokens = 0 }) => virtualTokens === 0);

/** Identifies the weights of a merge by contents and scales, in order. Names of adapters are no part of it. */
export const mergeKey = (adapters: readonly Applied[]): string =>
  adapters.map(({ files, scale }) => `${files.digest}*${scale}`).join('+');
