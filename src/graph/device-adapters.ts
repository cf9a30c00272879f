// Adapters beside a linear on a device, by ONNX Runtime's own operators. A and B are whole pools, of which both forms
// gather `pages`:
//
//   one     y += ((x · A) * scales) · B                                        A [P, in, 8], B as [P * 8, out]
//   mixed   z [P, T, out] = (x[rows [P, T]] · A [P, in, 8]) · B [P, 8, out]
//           y += shares [R, 1, C] · z[own [R, C]]                              z as [P * T, out]

import type { TargetModule } from '../core/adapter.ts';
import { pageRanks } from '../core/page-sizes.ts';
import {
  type AdaptedLinear,
  type AdapterOperators,
  adapterNames,
  joinedLinears,
  type ListForm,
  reaches,
} from './adapted-linear.ts';
import type { GraphBuilder } from './graph-builder.ts';
import { gainsOfRows } from './grouped-adapters.ts';
import { hostTarget } from './target.ts';

export const deviceAdapters = ({ form, reach }: ListForm): AdapterOperators => ({
  ...reaches[reach],

  addInputs(g, linears) {
    for (const linear of linears) {
      g.input(adapterNames.pages(linear), 'int64', [`pages.${linear}`]);
      if (reaches[reach].gains) g.input(adapterNames.gainOf(linear), 'int32', [`R.${linear}`]);
      if (form === 'one') {
        g.input(adapterNames.scales(linear), 'float32', [`ranks.${linear}`]);
        continue;
      }
      g.input(adapterNames.rows(linear), 'int64', [`pages.${linear}`, `T.${linear}`]);
      g.input(adapterNames.own(linear), 'int64', [`R.${linear}`, `C.${linear}`]);
      g.input(adapterNames.shares(linear), 'float32', [`R.${linear}`, 1, `C.${linear}`]);
    }
  },

  add(g, adapted, { x, base }, result) {
    const { linear, outs, target: { real } = hostTarget } = adapted;
    const own = reaches[reach].gains ? times(g, adapted, base) : base;
    if (form === 'one') {
      const scale = g.cast(adapterNames.scales(linear), real);
      const added = products(g, adapted, form, (a) => {
        const byRow = g.op('Transpose', [g.op('MatMul', [x, a])], { perm: [1, 0, 2] });
        const inner = g.op('Reshape', [byRow, g.integers('row_by_row', [0, -1])]);
        return g.op('Mul', [inner, scale]);
      });
      return g.op('Add', [own, added], {}, result);
    }
    const width = outs.reduce((sum, out) => sum + out, 0);
    const served = g.op('Gather', [x, adapterNames.rows(linear)]);
    const added = products(g, adapted, form, (a) => g.op('MatMul', [served, a]));
    const flat = g.op('Reshape', [added, g.integers(`products_${width}`, [-1, width])]);
    const taken = g.op('Gather', [flat, adapterNames.own(linear)]);
    // One product over all rows would have R * R * C terms, of which R * C count: a product for each row is cheaper.
    const sums = g.op('MatMul', [g.cast(adapterNames.shares(linear), real), taken]);
    const byRow = g.op('Reshape', [sums, g.integers(`products_${width}`, [-1, width])]);
    return g.op('Add', [own, byRow], {}, result);
  },
});

/** base * gain: the part of DoRA that is not low-rank. */
function times(g: GraphBuilder, { layer, linear, outs, target = hostTarget }: AdaptedLinear, base: string): string {
  const width = outs.reduce((sum, out) => sum + out, 0);
  return g.op('Mul', [base, gainsOfRows(g, { layer, linear, width, real: target.real })]);
}

/** The parts' products side by side. `inner` computes x · A of a part. */
function products(
  g: GraphBuilder,
  adapted: AdaptedLinear,
  form: 'one' | 'mixed',
  inner: (a: string) => string,
): string {
  const parts = joinedLinears[adapted.linear].map((module, i) => {
    const { a, b } = gathered(g, adapted, module, { out: adapted.outs[i]!, joined: form === 'one' });
    return g.op('MatMul', [inner(a), b]);
  });
  return parts.length === 1 ? parts[0]! : g.op('Concat', parts, { axis: -1 });
}

/** A part's pages, gathered from the pool: [P, in, 8] and [P, 8, out], or [P * 8, out] where `joined`. */
function gathered(
  g: GraphBuilder,
  { layer, linear, in: inputs, target = hostTarget }: AdaptedLinear,
  module: TargetModule,
  { out, joined }: { readonly out: number; readonly joined: boolean },
): { a: string; b: string } {
  const { real } = target;
  const list = adapterNames.pages(linear);
  const poolA = g.input(adapterNames.a(layer, module), real, ['slots', inputs, pageRanks]);
  const poolB = g.input(adapterNames.b(layer, module), real, ['slots', pageRanks, out]);
  const [a, b] = [g.op('Gather', [poolA, list]), g.op('Gather', [poolB, list])];
  return { a, b: joined ? g.op('Reshape', [b, g.integers(`ranks_${out}`, [-1, out])]) : b };
}
