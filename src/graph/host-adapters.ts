// Adapters beside a linear on the host: one operator of native/ for each joined linear, straight from the pools.
//
//   y [R, out] = base * gain + sum over the row's C pages: share * (x Aᵀ) B
//
// All layers of a linear share their tables of pages and shares. Where no row touches a linear its table has no
// columns, and the operator leaves `base` as it is.

import {
  type AdapterOperators,
  adapterNames,
  type HostForm,
  type JoinedLinear,
  joinedLinears,
  pageRanks,
} from './adapted-linear.ts';
import { partsMax } from './grouped-adapters.ts';

export const hostAdapters = ({ gains }: HostForm): AdapterOperators => ({
  linears: Object.keys(joinedLinears) as JoinedLinear[],
  gains,

  addInputs(g) {
    for (const linear of Object.keys(joinedLinears) as JoinedLinear[]) {
      g.input(adapterNames.pages(linear), 'int32', [`R.${linear}`, `C.${linear}`]);
      g.input(adapterNames.shares(linear), 'float32', [`R.${linear}`, `C.${linear}`]);
      if (gains) g.input(adapterNames.gainOf(linear), 'int32', [`R.${linear}`]);
    }
  },

  add(g, { layer, linear, in: inputs, outs }, { x, base }, result) {
    const width = outs.reduce((sum, out) => sum + out, 0);
    const gain = gains ? g.input(adapterNames.gain(layer, linear), 'float32', [`G.${linear}`, width]) : '';
    const pools = joinedLinears[linear].flatMap((module, i) => [
      g.input(adapterNames.a(layer, module), 'float16', ['slots', pageRanks, inputs]),
      g.input(adapterNames.b(layer, module), 'float16', ['slots', pageRanks, outs[i]!]),
    ]);
    const tables = [adapterNames.pages(linear), adapterNames.shares(linear)];
    const none = new Array<string>(2 * partsMax - pools.length).fill('');
    const operands = [x, base, ...tables, gain, ...pools, ...(gains ? [...none, adapterNames.gainOf(linear)] : [])];
    return g.native('GroupedLora', operands, { parts: outs.length }, result);
  },
});
