// Ties an adapter's pages to a run of the form `one`: a prefill reads what decode steps read. The range may hold pages
// of others, too, of which the row takes nothing.

import { adapterNames, type JoinedLinear } from '../../graph/adapted-linear.ts';
import type { Binding, Runtime, Tensor } from '../../runtime/session.ts';
import type { PageMemory } from '../adapters/page-memory.ts';
import type { PageReaders } from '../adapters/page-readers.ts';
import { type JoinedSizes, pageRanks } from '../adapters/resident-adapter.ts';
import type { RowAdapter } from '../adapters/row-adapter.ts';
import type { OneInputs } from '../adapters/tie-one.ts';

export type PagesSource = {
  readonly sizes: readonly JoinedSizes[];
  readonly memory: PageMemory;
  /** Of the adapter's reach. */
  readonly ranges: ReadonlyMap<JoinedLinear, Pick<PageReaders, 'first' | 'pages'>>;
  /** DoRA is in the graph. */
  readonly hasGains: boolean;
};

export function tiePages(runtime: Runtime, binding: Binding, source: PagesSource): OneInputs {
  const { sizes: allSizes, memory, ranges, hasGains } = source;
  const tensors: Tensor[] = [];
  const tie = (name: string, tensor: Tensor) => {
    binding.input(name, tensor);
    tensors.push(tensor);
  };
  const scales = new Map<JoinedLinear, Float32Array>();
  const gains: { readonly linear: JoinedLinear; readonly layer: number; readonly values: Float32Array }[] = [];
  for (const { linear, layers, modules, out } of allSizes) {
    const range = ranges.get(linear);
    if (!range) continue;
    const ofLinear = new Float32Array(range.pages * pageRanks);
    scales.set(linear, ofLinear);
    tie(adapterNames.scales(linear), runtime.tensor(ofLinear, [ofLinear.length]));
    for (let layer = 0; layer < layers; layer++) {
      for (const [part, module] of modules.entries()) {
        const { a, b } = memory.tie('one', { linear, part, layer, range });
        tie(adapterNames.a(layer, module), a);
        tie(adapterNames.b(layer, module), b);
      }
      if (!hasGains) continue;
      const values = new Float32Array(out).fill(1);
      gains.push({ linear, layer, values });
      tie(adapterNames.gain(layer, linear), runtime.tensor(values, [1, out]));
    }
  }
  return {
    adapter: null,
    tensors,
    set({ adapter, placement, scale }: RowAdapter) {
      for (const [linear, ofLinear] of scales) {
        const own = placement.ranges.get(linear);
        ofLinear.fill(0);
        // Without its pages a row would silently be the base's.
        if (!own && adapter.linears.get(linear)?.pages) throw new Error(`the row has no pages of ${linear}`);
        if (!own) continue;
        const start = (own.first - ranges.get(linear)!.first) * pageRanks;
        ofLinear.fill(scale, start, start + own.pages * pageRanks);
      }
      for (const { linear, layer, values } of gains) {
        const own = adapter.linears.get(linear)?.gains;
        if (own) values.set(own.subarray(layer * values.length, (layer + 1) * values.length));
        else values.fill(1);
      }
    },
  };
}
