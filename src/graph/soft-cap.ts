// cap * tanh(x / cap), which bounds scores and logits as in Gemma 2 (arXiv 2408.00118).

import type { GraphBuilder } from './graph-builder.ts';

/** y, and the tanh that the derivative needs; null without a cap. */
export type SoftCapped = { readonly y: string; readonly tanh: string | null };

/** @param cap 0 for none: y is x then */
export function softCap(g: GraphBuilder, x: string, cap: number, result?: string): SoftCapped {
  if (cap === 0) return { y: x, tanh: null };
  const tanh = g.op('Tanh', [g.op('Mul', [x, g.float(`to_cap_${cap}`, 1 / cap)])]);
  return { y: g.op('Mul', [tanh, g.float(`cap_${cap}`, cap)], {}, result), tanh };
}

/** The derivative by x from that by y: dy * (1 - tanh²). */
export function backSoftCap(g: GraphBuilder, tanh: string | null, dy: string): string {
  if (tanh === null) return dy;
  const slope = g.op('Sub', [g.float('one', 1), g.op('Mul', [tanh, tanh])]);
  return g.op('Mul', [dy, slope]);
}
