// Adapters beside a linear on the host, in ONNX Runtime's own operators:
//
//   one     y += ((x · Aᵀ) * scale) · B
//           x · Aᵀ in pages of few ranks, which no kernel splits: how depends on the number of rows
//   mixed   a page serves up to T rows:
//           z [pages, T, 1, out] = (x[rows [pages, T, 1]] · Aᵀ [pages, 1, 8, in]) · B [pages, 1, 8, out]
//           y += shares [R, R * C] · z[own [R * C]]                           z as [pages * T, out]
//
// `own` says which C products each row takes, `shares` how much of each: the request's scale, or 0. A linear that no
// adapter of the batch touches has no pages: its operators work on empty tensors and y stays as it is. Each product is
// of one row and one page, and each row's products lie side by side, whatever else is in the batch: a row's sums have
// the same bits alone and beside others.

import { type AdaptedLinear, type AdapterOperators, adapterNames, joinedLinears, reaches } from './adapted-linear.ts';
import type { GraphBuilder } from './graph-builder.ts';

export const hostAdapters: AdapterOperators = {
  addInputs(g, { form, reach }) {
    if (form === 'one') {
      g.input(adapterNames.scale, 'float32', [1]);
      return;
    }
    for (const linear of reaches[reach].linears) {
      g.input(adapterNames.rows(linear), 'int64', [`pages.${linear}`, `T.${linear}`, 1]);
      g.input(adapterNames.own(linear), 'int64', [`own.${linear}`]);
      g.input(adapterNames.shares(linear), 'float32', [`R.${linear}`, `own.${linear}`]);
    }
  },

  add(g, form, adapted, { x, base }, result) {
    const { linear, outs } = adapted;
    if (form === 'one') {
      const added = products(g, adapted, null, (a) => {
        const byRow = g.op('Transpose', [timesA(g, x, a)], { perm: [1, 0, 2] });
        const inner = g.op('Reshape', [byRow, g.integers('row_by_row', [0, -1])]);
        return g.op('Mul', [inner, adapterNames.scale]);
      });
      return g.op('Add', [base, added], {}, result);
    }
    const width = outs.reduce((sum, out) => sum + out, 0);
    const served = g.op('Gather', [x, adapterNames.rows(linear)]);
    const added = products(g, adapted, [`pages.${linear}`, 1, `ranks.${linear}`], (a) => timesA(g, served, a));
    const flat = g.op('Reshape', [added, g.integers(`products_${width}`, [-1, width])]);
    const own = g.op('Gather', [flat, adapterNames.own(linear)]);
    return g.op('Gemm', [adapterNames.shares(linear), own, base], {}, result);
  },
};

/** x · Aᵀ, page by page. */
const timesA = (g: GraphBuilder, x: string, a: string): string => g.contrib('FusedMatMul', [x, a], { transB: 1 })[0]!;

/** The parts' products side by side. `inner` makes x · Aᵀ of a part. */
function products(
  g: GraphBuilder,
  { layer, linear, in: inputs, outs }: AdaptedLinear,
  /** Leading dimensions of A and B in `mixed`; null in `one`. */
  pages: readonly (string | number)[] | null,
  inner: (a: string) => string,
): string {
  const parts = joinedLinears[linear].map((module, i) => {
    // Ranks of a part are its own in `one`: what an adapter does not touch costs nothing there.
    const own = `${layer}.${module}`;
    const [ofA, ofB] = pages === null ? [[`pages.${own}`, `width.${own}`], [`ranks.${own}`]] : [pages, pages];
    const a = g.input(adapterNames.a(layer, module), 'float32', [...ofA, inputs]);
    const b = g.input(adapterNames.b(layer, module), 'float32', [...ofB, outs[i]!]);
    return g.op('MatMul', [inner(a), b]);
  });
  return parts.length === 1 ? parts[0]! : g.op('Concat', parts, { axis: -1 });
}
