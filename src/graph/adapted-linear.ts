// Adapters beside a linear in the graph: y = x Wᵀ + what adapters add. This module has what host and device graphs
// share: the linears, and the inputs that a binding ties. On the host, adapters are inputs of the linear's own operator
// (host-adapters.ts); on a device they have operators of their own (device-adapters.ts, grouped-adapters.ts).

import type { TargetModule } from '../core/adapter.ts';
import type { AdapterBits } from '../core/page-sizes.ts';
import type { GraphBuilder } from './graph-builder.ts';
import type { GraphTarget } from './target.ts';

/** The lowered model's linears, each with PEFT's names of the linears that it joins, in the order of its outputs. */
export const joinedLinears = {
  qkv: ['q_proj', 'k_proj', 'v_proj'],
  output: ['o_proj'],
  gate_up: ['gate_proj', 'up_proj'],
  down: ['down_proj'],
  head: ['lm_head'],
} as const satisfies Record<string, readonly TargetModule[]>;
export type JoinedLinear = keyof typeof joinedLinears;

/**
 * What a graph gives for the rows that are asked for. Hidden rows are the head's input; a graph that gives them has no
 * head.
 */
export type DecoderResult = 'logits' | 'hidden';

/** Whether the graph of a result has a linear. */
export const hasLinear = (result: DecoderResult, linear: JoinedLinear): boolean =>
  result === 'logits' || linear !== 'head';

/** Name of a joined linear in the lowered model. */
export const loweredName = (layer: number, linear: JoinedLinear): string =>
  linear === 'head' ? linear : `layers.${layer}.${linear}`;

/**
 * Linears that adapters can reach in a device's graph. Operators on empty tensors cost little each but are many; most
 * adapters touch only attention, and hardly any has lm_head or DoRA's gains. Narrowest first: each reaches all that the
 * ones before it reach.
 */
export const reaches = {
  attention: { linears: ['qkv'], gains: false },
  layers: { linears: ['qkv', 'output', 'gate_up', 'down'], gains: false },
  all: { linears: ['qkv', 'output', 'gate_up', 'down', 'head'], gains: true },
} as const satisfies Record<string, { linears: readonly JoinedLinear[]; gains: boolean }>;
export type Reach = keyof typeof reaches;

/** The narrowest reach that covers these linears, and gains if there are any. */
export function reachOf(linears: Iterable<JoinedLinear>, gains: boolean): Reach {
  const touched = new Set(linears);
  const covers = (reach: Reach) => touched.isSubsetOf(new Set<JoinedLinear>(reaches[reach].linears));
  return (Object.keys(reaches) as Reach[]).find((reach) => covers(reach) && (reaches[reach].gains || !gains)) ?? 'all';
}

/** Host: each row has its own pages of every linear, or none. */
export type HostForm = { readonly form: 'grouped'; readonly gains: boolean; readonly bits: AdapterBits };
/**
 * Device with ONNX Runtime's operators alone: all rows are one sequence's (`one`), or each has its own adapter
 * (`mixed`).
 */
export type ListForm = { readonly form: 'one' | 'mixed'; readonly reach: Reach };
/** Device with the project's operators: each row has its own pages, in tables. */
export type TableForm = { readonly form: 'table'; readonly reach: Reach };
export type DeviceForm = ListForm | TableForm;
export type AdaptersInGraph = { readonly form: 'none' } | HostForm | DeviceForm;

/** Names of the adapters' inputs. `layer` is 0 for the head. */
export const adapterNames = {
  /**
   * The pool of A's pages: float16 [slots, pageElements(in)] on the host, [slots, 8, in] in `table`, [slots, in, 8] in
   * `one` and `mixed`.
   */
  a: (layer: number, module: TargetModule) => `lora_a.${layer}.${module}`,
  /** The pool of B's pages, transposed: float16 [slots, pageElements(out)] on the host, [slots, 8, out] elsewhere. */
  b: (layer: number, module: TargetModule) => `lora_b.${layer}.${module}`,
  /** int32 [R, C]: slots of the pool that each row reads, or -1; int64 [pages] in `one` and `mixed`. */
  pages: (linear: JoinedLinear) => `pages.${linear}`,
  /** float32 [R, C]: the factor of each page's product; [R, 1, C] in `mixed`. */
  shares: (linear: JoinedLinear) => `shares.${linear}`,
  /** int32 [G, 20], in `table`: groups of rows that read the same pages. */
  groups: (linear: JoinedLinear) => `groups.${linear}`,
  /** float32 [ranks], in `one`: the factor of each rank. */
  scales: (linear: JoinedLinear) => `scales.${linear}`,
  /** int64 [pages, T], in `mixed`: the rows that each page serves. */
  rows: (linear: JoinedLinear) => `rows.${linear}`,
  /** int64 [R, C], in `mixed`: indices of each row's products among [pages * T]. */
  own: (linear: JoinedLinear) => `own.${linear}`,
  /** float32 [G, out]: DoRA's factors of the base's own product, 1 without DoRA. Row r takes row `gainOf[r]`. */
  gain: (layer: number, linear: JoinedLinear) => `gain.${layer}.${linear}`,
  /** int32 [R]: the row of `gain` that each row takes. */
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

/** A device's operators that add adapters to a linear. */
export type AdapterOperators = {
  /** Linears that adapters reach. */
  readonly linears: readonly JoinedLinear[];
  /** Whether `base` is multiplied by gains, and must come without its bias. */
  readonly gains: boolean;
  /** Adds the inputs that all layers of these linears share. */
  addInputs(g: GraphBuilder, linears: readonly JoinedLinear[]): void;
  /** base [R, out], multiplied by its gains, plus what adapters add to it. */
  add(
    g: GraphBuilder,
    adapted: AdaptedLinear,
    operands: { readonly x: string; readonly base: string },
    result?: string,
  ): string;
};
