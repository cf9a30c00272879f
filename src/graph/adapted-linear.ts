// Adapters beside a linear in the graph: y = x Wᵀ + what adapters add. Two forms, since a prompt and a decode step
// differ:
//
//   one     all rows are one sequence's:            y += ((x · Aᵀ) * scale) · B
//           x · Aᵀ in pages of few ranks, which no kernel splits: how depends on the number of rows
//   mixed   each row has its own adapter, in rank pages; a page serves up to T rows:
//           z [pages, T, 1, out] = (x[rows [pages, T, 1]] · Aᵀ [pages, 1, 8, in]) · B [pages, 1, 8, out]
//           y += shares [R, R * C] · z[own [R * C]]                           z as [pages * T, out]
//
// On a device A and B are whole pools, of which `pages` are gathered, in both forms.
//
// `own` says which C products each row takes, `shares` how much of each: the request's scale, or 0. A linear that no
// adapter of the batch touches has no pages: its operators work on empty tensors and y stays as it is. Each product is
// of one row and one page, and each row's products lie side by side, whatever else is in the batch: a row's sums have
// the same bits alone and beside others.

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

export type AdaptersInGraph = { readonly form: 'none' } | { readonly form: 'one' | 'mixed'; readonly reach: Reach };

/** Ranks of a page in a device's pools. */
const pageWidth = 8;

/** Inputs that a binding ties. `layer` is 0 for the head. */
export const adapterNames = {
  /** [pages, width, in] in `one`, [pages, 1, 8, in] in `mixed`; the last two exchanged on a device. */
  a: (layer: number, module: TargetModule) => `lora_a.${layer}.${module}`,
  /** [ranks, out] or [pages, 1, 8, out]: B transposed, scaling folded in. */
  b: (layer: number, module: TargetModule) => `lora_b.${layer}.${module}`,
  /** float32 [1], `one`. */
  scale: 'adapter_scale',
  /** int64 [pages], on a device: which of the pool's. */
  pages: (linear: JoinedLinear) => `pages.${linear}`,
  /** float32 [ranks], `one` on a device. */
  scales: (linear: JoinedLinear) => `scales.${linear}`,
  /** int64 [pages, T, 1], `mixed`: the rows that each page serves. */
  rows: (linear: JoinedLinear) => `rows.${linear}`,
  /** int64 [R * C], `mixed`: the products of each row, by page and place in it; [R, C] on a device. */
  own: (linear: JoinedLinear) => `own.${linear}`,
  /** float32 [R, R * C], `mixed`; [R, 1, C] on a device. */
  shares: (linear: JoinedLinear) => `shares.${linear}`,
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

/** Inputs that all linears of a graph share. */
export function addAdapterInputs(g: GraphBuilder, adapters: AdaptersInGraph, { on } = hostTarget): void {
  if (adapters.form === 'none') return;
  if (adapters.form === 'one' && on === 'host') g.input(adapterNames.scale, 'float32', [1]);
  for (const linear of reaches[adapters.reach].linears) {
    if (on === 'device') g.input(adapterNames.pages(linear), 'int64', [`pages.${linear}`]);
    if (adapters.form === 'one') {
      if (on === 'device') g.input(adapterNames.scales(linear), 'float32', [`ranks.${linear}`]);
      continue;
    }
    const places = [`pages.${linear}`, `T.${linear}`];
    g.input(adapterNames.rows(linear), 'int64', on === 'device' ? places : [...places, 1]);
    if (on === 'device') {
      g.input(adapterNames.own(linear), 'int64', [`R.${linear}`, `C.${linear}`]);
      g.input(adapterNames.shares(linear), 'float32', [`R.${linear}`, 1, `C.${linear}`]);
      continue;
    }
    g.input(adapterNames.own(linear), 'int64', [`own.${linear}`]);
    g.input(adapterNames.shares(linear), 'float32', [`R.${linear}`, `own.${linear}`]);
  }
}

/** base [R, out] + what adapters add to it. */
export function addAdapters(
  g: GraphBuilder,
  form: 'one' | 'mixed',
  adapted: AdaptedLinear,
  { x, base }: { x: string; base: string },
  result?: string,
): string {
  const { linear, outs, target: { on, real } = hostTarget } = adapted;
  const width = outs.reduce((sum, out) => sum + out, 0);
  if (form === 'one') {
    const scale = on === 'host' ? adapterNames.scale : g.cast(adapterNames.scales(linear), real);
    const added = products(g, adapted, null, (a) => {
      const byRow = g.op('Transpose', [timesA(g, x, a, on)], { perm: [1, 0, 2] });
      const inner = g.op('Reshape', [byRow, g.integers('row_by_row', [0, -1])]);
      return g.op('Mul', [inner, scale]);
    });
    return g.op('Add', [base, added], {}, result);
  }
  const served = g.op('Gather', [x, adapterNames.rows(linear)]);
  const added = products(g, adapted, [`pages.${linear}`, 1, `ranks.${linear}`], (a) => timesA(g, served, a, on));
  const flat = g.op('Reshape', [added, g.integers(`products_${width}`, [-1, width])]);
  const own = g.op('Gather', [flat, adapterNames.own(linear)]);
  if (on === 'host') return g.op('Gemm', [adapterNames.shares(linear), own, base], {}, result);
  // R * R * C products for R * C that count: many rows are cheaper row by row.
  const sums = g.op('MatMul', [g.cast(adapterNames.shares(linear), real), own]);
  const byRow = g.op('Reshape', [sums, g.integers(`products_${width}`, [-1, width])]);
  return g.op('Add', [base, byRow], {}, result);
}

/** x · Aᵀ, page by page. */
const timesA = (g: GraphBuilder, x: string, a: string, on: GraphTarget['on']): string =>
  on === 'device' ? g.op('MatMul', [x, a]) : g.contrib('FusedMatMul', [x, a], { transB: 1 })[0]!;

/** The parts' products side by side. `inner` makes x · Aᵀ of a part. */
function products(
  g: GraphBuilder,
  adapted: AdaptedLinear,
  /** Leading dimensions of A and B in `mixed`; null in `one`. */
  pages: readonly (string | number)[] | null,
  inner: (a: string) => string,
): string {
  const { layer, linear, in: inputs, outs, target = hostTarget } = adapted;
  const parts = joinedLinears[linear].map((module, i) => {
    if (target.on === 'device') {
      const { a, b } = gathered(g, adapted, module, { out: outs[i]!, joined: pages === null });
      return g.op('MatMul', [inner(a), b]);
    }
    // Ranks of a part are its own in `one`: what an adapter does not touch costs nothing there.
    const own = `${layer}.${module}`;
    const [ofA, ofB] = pages === null ? [[`pages.${own}`, `width.${own}`], [`ranks.${own}`]] : [pages, pages];
    const a = g.input(adapterNames.a(layer, module), 'float32', [...ofA, inputs]);
    const b = g.input(adapterNames.b(layer, module), 'float32', [...ofB, outs[i]!]);
    return g.op('MatMul', [inner(a), b]);
  });
  return parts.length === 1 ? parts[0]! : g.op('Concat', parts, { axis: -1 });
}

/** A part's pages, out of the pool: [P, in, 8] and [P, 8, out], or [P * 8, out] where `joined`. */
function gathered(
  g: GraphBuilder,
  { layer, linear, in: inputs, target = hostTarget }: AdaptedLinear,
  module: TargetModule,
  { out, joined }: { readonly out: number; readonly joined: boolean },
): { a: string; b: string } {
  const { real } = target;
  const list = adapterNames.pages(linear);
  const poolA = g.input(adapterNames.a(layer, module), real, ['slots', inputs, pageWidth]);
  const poolB = g.input(adapterNames.b(layer, module), real, ['slots', pageWidth, out]);
  const [a, b] = [g.op('Gather', [poolA, list]), g.op('Gather', [poolB, list])];
  return { a, b: joined ? g.op('Reshape', [b, g.integers(`ranks_${out}`, [-1, out])]) : b };
}

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
