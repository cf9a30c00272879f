// Which pages of a linear's pools each row of a run reads, and how much of their product it takes: [rows, columns],
// with as many columns as the row with most pages has.

import { adapterNames, type JoinedLinear } from '../../graph/adapted-linear.ts';
import type { Binding, Runtime, Tensor } from '../../runtime/session.ts';
import { type RowAdapter, rangeOf } from './row-adapter.ts';

const noPage = -1;

export type BoundPages = {
  readonly linear: JoinedLinear;
  write(rows: readonly (RowAdapter | null)[]): void;
  release(): void;
};

/** The two tensors are bound anew when their size changes, which is when rows come or go. */
export function bindPages(runtime: Runtime, binding: Binding, linear: JoinedLinear): BoundPages {
  let size = '';
  let pages = new Int32Array(0);
  let shares = new Float32Array(0);
  let tensors: Tensor[] = [];
  const release = () => {
    for (const tensor of tensors) tensor.release();
  };
  const resize = (rows: number, columns: number) => {
    if (size === `${rows} ${columns}`) return;
    size = `${rows} ${columns}`;
    const old = tensors;
    pages = new Int32Array(rows * columns);
    shares = new Float32Array(rows * columns);
    tensors = [runtime.tensor(pages, [rows, columns]), runtime.tensor(shares, [rows, columns])];
    binding.input(adapterNames.pages(linear), tensors[0]!);
    binding.input(adapterNames.shares(linear), tensors[1]!);
    for (const tensor of old) tensor.release();
  };
  return {
    linear,
    write(rows) {
      const ranges = rows.map((row) => row && rangeOf(row, linear));
      const columns = Math.max(0, ...ranges.map((range) => range?.pages ?? 0));
      resize(rows.length, columns);
      pages.fill(noPage);
      shares.fill(0);
      for (const [row, adapter] of rows.entries()) {
        const range = ranges[row];
        if (!adapter || !range) continue;
        const own = adapter.adapter.linears.get(linear)!.shares;
        for (let page = 0; page < range.pages; page++) {
          pages[row * columns + page] = range.first + page;
          shares[row * columns + page] = adapter.scale * own[page]!;
        }
      }
    },
    release,
  };
}
