// Adapters beside a linear on a device with the project's own operator, which reads pools in place by tables of the
// pages that each row reads. A prompt's rows are treated as any others.
//
//   y = base [* gain] + sum over the row's pages of share * (x Aᵀ) B
//       pages, shares [R, C], A [slots, 8, in], B [slots, 8, out]

import { pageRanks } from '../core/page-sizes.ts';
import {
  type AdapterOperators,
  adapterNames,
  type JoinedLinear,
  joinedLinears,
  reaches,
  type TableForm,
} from './adapted-linear.ts';
import type { GraphBuilder } from './graph-builder.ts';
import { hostTarget, type Real } from './target.ts';

/** Most parts of a joined linear. */
export const partsMax = 3;

/** Most rows of a group, one tile of the card's matrix units. */
export const groupRowsMax = 16;
/** Width of a row of `groups`: number of pages, number of rows, two spare values, and the rows. */
export const groupWidth = 4 + groupRowsMax;

/** DoRA's gain of each row: [R, width]. */
export function gainsOfRows(
  g: GraphBuilder,
  of: { readonly layer: number; readonly linear: JoinedLinear; readonly width: number; readonly real: Real },
): string {
  const { layer, linear, width, real } = of;
  const gains = g.input(adapterNames.gain(layer, linear), 'float32', [`G.${linear}.gains`, width]);
  return g.op('Gather', [g.cast(gains, real), adapterNames.gainOf(linear)]);
}

export const groupedAdapters = ({ reach }: TableForm): AdapterOperators => ({
  ...reaches[reach],

  addInputs(g, linears) {
    for (const linear of linears) {
      const table = [`R.${linear}`, `C.${linear}`];
      g.input(adapterNames.pages(linear), 'int32', table);
      g.input(adapterNames.shares(linear), 'float32', table);
      g.input(adapterNames.groups(linear), 'int32', [`G.${linear}`, groupWidth]);
      if (reaches[reach].gains) g.input(adapterNames.gainOf(linear), 'int32', [`R.${linear}`]);
    }
  },

  add(g, { layer, linear, in: inputs, outs, target: { real } = hostTarget }, { x, base }, result) {
    const modules = joinedLinears[linear];
    const width = outs.reduce((sum, out) => sum + out, 0);
    const gains = reaches[reach].gains ? gainsOfRows(g, { layer, linear, width, real }) : '';
    const pools = modules.flatMap((module, part) => [
      g.input(adapterNames.a(layer, module), real, ['slots', pageRanks, inputs]),
      g.input(adapterNames.b(layer, module), real, ['slots', pageRanks, outs[part]!]),
    ]);
    const none = new Array<string>(2 * partsMax - pools.length).fill('');
    const tables = [adapterNames.pages(linear), adapterNames.shares(linear)];
    const operands = [x, base, ...tables, gains, ...pools, ...none, adapterNames.groups(linear)];
    return g.native('GroupedLora', operands, { parts: modules.length }, result);
  },
});
