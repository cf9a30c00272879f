// Adapters beside a linear in the graph: y = x Wᵀ + what adapters add. What both forms of it share: which linears there
// are, how far a graph lets adapters reach, and the inputs that a binding ties. The operators are in host-adapters.ts
// and device-adapters.ts. Two forms, since a prompt and a decode step differ:
//
//   one     all rows are one sequence's
//   mixed   each row has its own adapter, in rank pages

import type { TargetModule } from '../core/adapter.ts';
import type { GraphBuilder } from './graph-builder.ts';
import { type GraphTarget, hostTarget } from './target.ts';

/** The lowered model's linears, and what their outputs are by PEFT's names, side by side. */
export const joinedLinears = {
  qkv: ['q_proj', 'k_proj', 'v_proj'],
  output: ['o_proj'],
  gate_up: ['gate_proj', 'up_proj'],
  down: ['down_proj'],
  head: ['lm_head'],
} as const satisfies Record<string, readonly TargetModule[]>;
export type JoinedLinear = keyof typeof joinedLinears;

/** What a joined linear is called in the lowered model. */
export const loweredName = (layer: number, linear: JoinedLinear): string =>
  linear === 'head' ? linear : `layers.${layer}.${linear}`;

/**
 * Which linears a graph lets adapters reach. Operators on empty tensors cost little and are many, and most adapters
 * touch only attention; lm_head, and DoRA's gains, hardly any has. Narrowest first: each reaches what the ones before
 * do.
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

export type AdaptedForm = { readonly form: 'one' | 'mixed'; readonly reach: Reach };
export type AdaptersInGraph = { readonly form: 'none' } | AdaptedForm;

/** Inputs that a binding ties. `layer` is 0 for the head. */
export const adapterNames = {
  /** [pages, width, in] in `one`, [pages, 1, 8, in] in `mixed`; the last two exchanged on a device. */
  a: (layer: number, module: TargetModule) => `lora_a.${layer}.${module}`,
  /** [ranks, out] or [pages, 1, 8, out]: B transposed, scaling folded in. */
  b: (layer: number, module: TargetModule) => `lora_b.${layer}.${module}`,
  /** float32 [1], `one`. */
  scale: 'adapter_scale',
  /** int64 [pages], on a device: which of the pool's; int32 [R, C] for its own operator, -1: none. */
  pages: (linear: JoinedLinear) => `pages.${linear}`,
  /** float32 [ranks], `one` on a device. */
  scales: (linear: JoinedLinear) => `scales.${linear}`,
  /** int64 [pages, T, 1], `mixed`: the rows that each page serves. */
  rows: (linear: JoinedLinear) => `rows.${linear}`,
  /** int64 [R * C], `mixed`: the products of each row, by page and place in it; [R, C] on a device. */
  own: (linear: JoinedLinear) => `own.${linear}`,
  /** float32 [R, R * C], `mixed`; [R, 1, C] on a device, [R, C] for its own operator. */
  shares: (linear: JoinedLinear) => `shares.${linear}`,
  /** int32 [G, 20], for a device's own operator: rows that read the same pages. */
  groups: (linear: JoinedLinear) => `groups.${linear}`,
  /** float32 [1, out] in `one`, [R, out] in `mixed`: multiplies the base's own product (DoRA); 1 elsewhere. */
  gain: (layer: number, linear: JoinedLinear) => `gain.${layer}.${linear}`,
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

/** How the operators of one target are added to a graph. */
export type AdapterOperators = {
  /** Inputs that all linears of a graph share. */
  addInputs(g: GraphBuilder, adapters: AdaptedForm): void;
  /** base [R, out] + what adapters add to it. */
  add(
    g: GraphBuilder,
    form: AdaptedForm['form'],
    adapted: AdaptedLinear,
    operands: { readonly x: string; readonly base: string },
    result?: string,
  ): string;
};

/** base * gain: DoRA's part that is not low-rank. */
export function addGain(
  g: GraphBuilder,
  { layer, linear, outs, target = hostTarget }: AdaptedLinear,
  base: string,
): string {
  const width = outs.reduce((sum, out) => sum + out, 0);
  const gain = g.input(adapterNames.gain(layer, linear), 'float32', [`G.${linear}`, width]);
  return g.op('Mul', [base, g.cast(gain, target.real)]);
}
