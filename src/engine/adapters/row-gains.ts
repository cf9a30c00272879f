// A table of DoRA's gains with a row for each of some adapters: [rows, out] for every layer and joined linear. A row
// holds ones until an adapter is put there, and is not copied again while it stays.

import type { ModelShape } from '../../core/base-model.ts';
import type { JoinedLinear } from '../../graph/adapted-linear.ts';
import { joinedSizes, type ResidentAdapter } from './resident-adapter.ts';

export type RowGains = {
  /** Gains of rows [0, count) in a layer, in place. */
  of(linear: JoinedLinear, layer: number, count: number): Float32Array<ArrayBuffer>;
  /** Sets a row's gains to an adapter's in every linear; ones where it has none. */
  put(row: number, adapter: ResidentAdapter): void;
};

export function createRowGains(shape: ModelShape, rows: number): RowGains {
  const pools = new Map(
    joinedSizes(shape).map((sizes) => {
      const layers = Array.from({ length: sizes.layers }, () => new Float32Array(rows * sizes.out).fill(1));
      /** Key of the adapter whose gains a row holds; null where they are ones. */
      const owners = new Array<string | null>(rows).fill(null);
      return [sizes.linear, { sizes, layers, owners }];
    }),
  );
  const put = (linear: JoinedLinear, row: number, adapter: ResidentAdapter) => {
    const { sizes, layers, owners } = pools.get(linear)!;
    const owner = adapter.hasGains ? adapter.key : null;
    if (owners[row] === owner) return;
    owners[row] = owner;
    const gains = adapter.linears.get(linear)?.gains ?? null;
    for (const [layer, pool] of layers.entries()) {
      const target = pool.subarray(row * sizes.out, (row + 1) * sizes.out);
      if (gains === null) target.fill(1);
      else target.set(gains.subarray(layer * sizes.out, (layer + 1) * sizes.out));
    }
  };
  return {
    of: (linear, layer, count) => {
      const { sizes, layers } = pools.get(linear)!;
      return layers[layer]!.subarray(0, count * sizes.out);
    },
    put(row, adapter) {
      for (const linear of pools.keys()) put(linear, row, adapter);
    },
  };
}
