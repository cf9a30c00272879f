// Adapters beside a linear on a device that has the project's own operator: pools are read in place, through tables of
// which row reads which pages. A prompt's rows are rows like any others, so both forms are one.
//
//   y = base + sum over the row's pages of share * (x Aᵀ) B
//       pages, shares [R, C], A [slots, 8, in], B [slots, 8, out]

import { type AdapterOperators, adapterNames, joinedLinears, reaches } from './adapted-linear.ts';
import { hostTarget } from './target.ts';

/** Ranks of a page. */
const pageWidth = 8;

/** Parts of a joined linear, at the most. */
const partsMax = 3;

/** Of `groups`: pages and rows of a group, two spare, and up to 16 rows. */
export const groupWidth = 20;

export const groupedAdapters: AdapterOperators = {
  addInputs(g, { reach }) {
    for (const linear of reaches[reach].linears) {
      const table = [`R.${linear}`, `C.${linear}`];
      g.input(adapterNames.pages(linear), 'int32', table);
      g.input(adapterNames.shares(linear), 'float32', table);
      g.input(adapterNames.groups(linear), 'int32', [`G.${linear}`, groupWidth]);
    }
  },

  add(g, _form, { layer, linear, in: inputs, outs, target: { real } = hostTarget }, { x, base }, result) {
    const modules = joinedLinears[linear];
    const pools = modules.flatMap((module, part) => [
      g.input(adapterNames.a(layer, module), real, ['slots', pageWidth, inputs]),
      g.input(adapterNames.b(layer, module), real, ['slots', pageWidth, outs[part]!]),
    ]);
    const none = new Array<string>(2 * partsMax - pools.length).fill('');
    const tables = [adapterNames.pages(linear), adapterNames.shares(linear)];
    const operands = [x, base, ...tables, '', ...pools, ...none, adapterNames.groups(linear)];
    return g.native('GroupedLora', operands, { parts: modules.length }, result);
  },
};
