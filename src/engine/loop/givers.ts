// Finds who gives up a row or pages for a sequence that waits: applies the policies on shares to the sequences that
// wait and run.

import type { FairQueue } from '../policies/fair-queue.ts';
import type { PageHolder } from '../policies/page-shares.ts';
import { type FlowRows, hasExcess, rowGiver } from '../policies/row-shares.ts';
import type { Sequence } from './sequence.ts';

export type Crowd = { readonly waiting: FairQueue<Sequence>; readonly running: readonly Sequence[] };

/** The sequence that gives its row to this one; null where it has to wait. */
export type RowGivers = (sequence: Sequence) => Sequence | null;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Counts waiting and running sequences by flow. */
export function flowRows({ waiting, running }: Crowd): FlowRows[] {
  const flows = new Map<number, Mutable<FlowRows>>();
  for (const { id: flow, value: counter, ...rest } of waiting.waitingFlows()) {
    flows.set(flow, { ...rest, flow, counter, running: 0 });
  }
  for (const { line } of running) {
    const known = flows.get(line.flow);
    if (known) known.running++;
    else flows.set(line.flow, { ...line, waiting: 0, counter: waiting.counter(line.flow), running: 1 });
  }
  return [...flows.values()];
}

/** For a batch in which no flow has a row to give. */
export const noGivers: RowGivers = () => null;

/**
 * Finds givers of rows; valid until a sequence starts or ends. The giver is the last started sequence of the flow that
 * gives.
 * @param young those that started in this step, which give nothing
 */
export function rowGivers(
  crowd: Crowd,
  { rows, lead, young }: { readonly rows: number; readonly lead: number; readonly young: ReadonlySet<Sequence> },
): RowGivers {
  const flows = flowRows(crowd);
  if (!hasExcess(flows, rows)) return noGivers;
  const known = new Map<number, Sequence | null>();
  const find = (flow: number) => {
    const giver = rowGiver(flows, flow, rows, lead);
    const rivals = crowd.running.filter((sequence) => sequence.line.flow === giver && !young.has(sequence));
    return rivals.reduce<Sequence | null>((last, one) => (last && last.startedAt! > one.startedAt! ? last : one), null);
  };
  return ({ line: { flow } }) => {
    const giver = known.get(flow) ?? find(flow);
    known.set(flow, giver);
    return giver;
  };
}

/** Running sequences, grouped by the pages that they share. */
export function pageHolders(
  running: readonly Sequence[],
  pagesOf: (sequence: Sequence) => { readonly key: string; readonly pages: number } | null,
): PageHolder<Sequence>[] {
  const holders = new Map<string, { pages: number; sequences: Sequence[] }>();
  for (const sequence of running) {
    const taken = pagesOf(sequence);
    if (taken === null) continue;
    const holder = holders.get(taken.key) ?? { pages: taken.pages, sequences: [] };
    holder.sequences.push(sequence);
    holders.set(taken.key, holder);
  }
  return [...holders.values()].map(({ pages, sequences }) => {
    const { flow } = sequences[0]!.line;
    const isOnes = sequences.every(({ line }) => line.flow === flow);
    const startedAt = Math.max(...sequences.map(({ startedAt }) => startedAt!));
    return { pages, sequences, startedAt, flow: isOnes ? flow : null };
  });
}
