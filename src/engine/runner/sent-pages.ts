// The graph's inputs that tell which pages of one linear a run reads: lists for ONNX Runtime's own operators, tables
// for the project's operator.

import { pageRanks } from '../../core/page-sizes.ts';
import { adapterNames, type JoinedLinear } from '../../graph/adapted-linear.ts';
import { groupWidth } from '../../graph/grouped-adapters.ts';
import { pageTable, type SharedPages } from '../adapters/device-page-table.ts';
import { pageList, type RowPages } from '../adapters/page-list.ts';
import type { Sent } from './sender.ts';

/** @param rows what each row of the run reads; a single one in the form `one` */
export function sentLists(
  form: 'one' | 'mixed',
  linear: JoinedLinear,
  rows: readonly (RowPages | null)[],
): readonly Sent[] {
  const { pages, served, rows: places, taken, own, scales } = pageList(rows);
  const whole = (name: string, values: readonly number[], shape: readonly number[]): Sent => ({
    ...{ name, shape, data: BigInt64Array.from(values, BigInt) },
  });
  const listed = whole(adapterNames.pages(linear), pages, [pages.length]);
  if (form === 'one') {
    // The one row reads every listed page once, in order: a scale for each rank.
    const length = pages.length * pageRanks;
    const data = Float32Array.from({ length }, (_, i) => scales[Math.floor(i / pageRanks)]!);
    return [listed, { name: adapterNames.scales(linear), data, shape: [length] }];
  }
  const count = own.length / taken;
  return [
    listed,
    whole(adapterNames.rows(linear), places, [pages.length, served]),
    whole(adapterNames.own(linear), own, [count, taken]),
    { name: adapterNames.shares(linear), data: scales, shape: [count, 1, taken] },
  ];
}

/**
 * @param rows what each row of the run reads; a prompt has the same for every token
 * @param isSteady whether the sizes should come again
 */
export function sentTable(
  linear: JoinedLinear,
  rows: readonly (SharedPages | null)[],
  isSteady: boolean,
): readonly Sent[] {
  const { most, pages, shares, groups } = pageTable(rows, isSteady);
  return [
    { name: adapterNames.pages(linear), data: pages, shape: [rows.length, most] },
    { name: adapterNames.shares(linear), data: shares, shape: [rows.length, most] },
    { name: adapterNames.groups(linear), data: groups, shape: [groups.length / groupWidth, groupWidth] },
  ];
}
