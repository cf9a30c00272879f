// Adapters beside a linear in the graph: y = x Wᵀ + what adapters add. What the host's graphs and a device's share:
// which linears there are, and the inputs that a binding ties. On the host they are inputs of the linear's own operator
// (host-adapters.ts); a device has operators for them (device-adapters.ts, grouped-adapters.ts).

import type { TargetModule } from '../core/adapter.ts';
import type { AdapterBits } from '../core/page-sizes.ts';
import type { GraphBuilder } from './graph-builder.ts';
import type { GraphTarget } from './target.ts';

/** The lowered model's linears, and what their outputs are by PEFT's names, side by side. */
export const joinedLinears = {
  qkv: ['q_proj', 'k_proj', 'v_proj'],
  output: ['o_proj'],
  gate_up: ['gate_proj', 'up_proj'],
  down: ['down_proj'],
  head: ['lm_head'],
} as const satisfies Record<string, readonly TargetModule[]>;
export type JoinedLinear = keyof typeof joinedLinears;

/** What a graph gives of the rows that are asked for. Hidden rows are what the head reads, which is not part of it. */
export type DecoderResult = 'logits' | 'hidden';

/** Whether the graph of a result multiplies with a linear. */
export const hasLinear = (result: DecoderResult, linear: JoinedLinear): boolean =>
  result === 'logits' || linear !== 'head';

/** What a joined linear is called in the lowered model. */
export const loweredName = (layer: number, linear: JoinedLinear): string =>
  linear === 'head' ? linear : `layers.${layer}.${linear}`;

/**
 * Which linears a device's graph lets adapters reach. Operators on empty tensors cost little and are many, and most
 * adapters touch only attention; lm_head, and DoRA's gains, hardly any has. Narrowest first: each reaches what the ones
 * before do.
 */
export const reaches = {
  attention: { linears: ['qkv'], gains: false },
  layers: { linears: ['qkv', 'output', 'gate_up', 'down'], gains: false },
  all: { linears: ['qkv', 'output', 'gate_up', 'down', 'head'], gains: true },
} as const satisfies Record<string, { linears: readonly JoinedLinear[]; gains: boolean }>;
export type Reach = keyof typeof reaches;

/** The narrowest graph for these linears. */
export function reachOf(linears: Iterable<JoinedLinear>, gains: boolean): Reach {
  const touched = new Set(linears);
  const covers = (reach: Reach) => touched.isSubsetOf(new Set<JoinedLinear>(reaches[reach].linears));
  return (Object.keys(reaches) as Reach[]).find((reach) => covers(reach) && (reaches[reach].gains || !gains)) ?? 'all';
}

/** On the host: each row has its own pages of every linear, or none. */
export type HostForm = { readonly form: 'grouped'; readonly gains: boolean; readonly bits: AdapterBits };
/** On a device, in ONNX Runtime's operators: all rows are one sequence's, or each has its own adapter. */
export type ListForm = { readonly form: 'one' | 'mixed'; readonly reach: Reach };
/** On a device that has the project's own: each row has its own pages, in tables. */
export type TableForm = { readonly form: 'table'; readonly reach: Reach };
export type DeviceForm = ListForm | TableForm;
export type AdaptersInGraph = { readonly form: 'none' } | HostForm | DeviceForm;

/** Inputs that a binding ties. `layer` is 0 for the head. */
export const adapterNames = {
  /**
   * The pool of A's pages: float16 [slots, pageElements(in)] on the host, [slots, 8, in] in `table`, [slots, in, 8] in
   * `one` and `mixed`.
   */
  a: (layer: number, module: TargetModule) => `lora_a.${layer}.${module}`,
  /** The pool of B's pages, transposed: float16 [slots, pageElements(out)] on the host, [slots, 8, out] elsewhere. */
  b: (layer: number, module: TargetModule) => `lora_b.${layer}.${module}`,
  /** int32 [R, C], which of the pool's each row reads, or -1; int64 [pages] in `one` and `mixed`. */
  pages: (linear: JoinedLinear) => `pages.${linear}`,
  /** float32 [R, C], how much of its product a row takes; [R, 1, C] in `mixed`. */
  shares: (linear: JoinedLinear) => `shares.${linear}`,
  /** int32 [G, 20], `table`: rows that read the same pages. */
  groups: (linear: JoinedLinear) => `groups.${linear}`,
  /** float32 [ranks], `one`. */
  scales: (linear: JoinedLinear) => `scales.${linear}`,
  /** int64 [pages, T], `mixed`: the rows that each page serves. */
  rows: (linear: JoinedLinear) => `rows.${linear}`,
  /** int64 [R, C], `mixed`: the products of each row, by page and place in it. */
  own: (linear: JoinedLinear) => `own.${linear}`,
  /** float32 [G, out]: multiplies the base's own product (DoRA); 1 elsewhere. Row r takes row `gainOf[r]`. */
  gain: (layer: number, linear: JoinedLinear) => `gain.${layer}.${linear}`,
  /** int32 [R] */
  gainOf: (linear: JoinedLinear) => `gain_of.${linear}`,
} as const;

export type AdaptedLinear = {
  readonly layer: number;
  readonly linear: JoinedLinear;
  /** Inputs, and outputs of each part. */
  readonly in: number;
  readonly outs: readonly number[];
  /** The host by default. */
  readonly target?: GraphTarget;
};

/** Adapters as operators of their own, on a device. */
export type AdapterOperators = {
  /** That adapters reach. */
  readonly linears: readonly JoinedLinear[];
  /** Whether `base` is multiplied by gains, and so has to come without its bias. */
  readonly gains: boolean;
  /** Inputs that these linears share over all layers. */
  addInputs(g: GraphBuilder, linears: readonly JoinedLinear[]): void;
  /** base [R, out], by its gains, + what adapters add to it. */
  add(
    g: GraphBuilder,
    adapted: AdaptedLinear,
    operands: { readonly x: string; readonly base: string },
    result?: string,
  ): string;
};
