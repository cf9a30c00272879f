// Adapters beside a linear on the host, as inputs of its operator (native/kernels/grouped_lora.c):
//
//   y [R, out] = x Wᵀ * gain + sum over the row's C pages: share * (x Aᵀ) B
//
// All layers of a linear share their tables of pages and shares. Where no row's adapter touches a linear, its table has
// no columns and costs nothing.

import { pageBlocks, pageElements } from '../core/page-sizes.ts';
import { type AdaptedLinear, adapterNames, type HostForm, type JoinedLinear, joinedLinears } from './adapted-linear.ts';
import type { GraphBuilder } from './graph-builder.ts';
import type { LinearAdapters } from './linear.ts';

/** Adds the inputs that all layers share. */
export function addTables(g: GraphBuilder, { gains }: HostForm, linears: readonly JoinedLinear[]): void {
  for (const linear of linears) {
    g.input(adapterNames.pages(linear), 'int32', [`R.${linear}`, `C.${linear}`]);
    g.input(adapterNames.shares(linear), 'float32', [`R.${linear}`, `C.${linear}`]);
    if (gains) g.input(adapterNames.gainOf(linear), 'int32', [`R.${linear}`]);
  }
}

export function hostAdapters(
  g: GraphBuilder,
  { gains, bits }: HostForm,
  { layer, linear, in: inputs, outs }: AdaptedLinear,
): LinearAdapters {
  const width = outs.reduce((sum, out) => sum + out, 0);
  const gain = gains
    ? [g.input(adapterNames.gain(layer, linear), 'float32', [`G.${linear}`, width]), adapterNames.gainOf(linear)]
    : ['', ''];
  const pools = joinedLinears[linear].flatMap((module, i) => [
    g.input(adapterNames.a(layer, module), 'float16', ['slots', pageElements(inputs, pageBlocks.a, bits)]),
    g.input(adapterNames.b(layer, module), 'float16', ['slots', pageElements(outs[i]!, pageBlocks.b, bits)]),
  ]);
  const operands = [adapterNames.pages(linear), adapterNames.shares(linear), ...gain, ...pools];
  return { outs, bits, operands };
}
