// Joins the statistics of several engines into one. Pure.

import { type AdapterStats, type EngineInfo, type EngineStats, type KvBlocks, noAdapters } from './messages.ts';

export const idleStats: EngineStats = {
  running: 0,
  waiting: 0,
  kvUsage: 0,
  preemptions: 0,
  steps: 0,
  stepMs: 0,
  stepTokens: 0,
  adapters: noAdapters,
};

/** Adds the counters of past processes to an engine's statistics. */
export function withPast(stats: EngineStats, past: EngineStats): EngineStats {
  const [prefixes, speculation] = [
    [stats, past].flatMap((one) => one.prefixes ?? []),
    [stats, past].flatMap((one) => one.speculation ?? []),
  ];
  return {
    ...stats,
    preemptions: stats.preemptions + past.preemptions,
    steps: stats.steps + past.steps,
    ...(prefixes.length > 0 && { prefixes: sumOf(prefixes, prefixKeys) }),
    ...(speculation.length > 0 && { speculation: sumOf(speculation, speculationKeys) }),
    adapters: { ...stats.adapters, evictions: stats.adapters.evictions + past.adapters.evictions },
  };
}

/** Keeps the counters of an engine that has ended, and drops its current values. */
export const countsOf = ({ preemptions, steps, prefixes, speculation, adapters }: EngineStats): EngineStats => ({
  ...{ ...idleStats, preemptions, steps },
  ...(prefixes && { prefixes: { ...prefixes, bytes: 0 } }),
  ...(speculation && { speculation: { ...speculation, pastTextBytes: 0 } }),
  adapters: { ...noAdapters, evictions: adapters.evictions },
});

/**
 * Joins statistics of engines. @param engines last statistics and slots of each
 * @param resident distinct adapters in the memory of any engine
 */
export function joinStats(
  engines: readonly { readonly stats: EngineStats; readonly slots: number }[],
  resident: number,
): EngineStats {
  const [only] = engines;
  if (engines.length === 1) return only!.stats;
  const all = engines.map(({ stats }) => stats);
  const slots = Math.max(1, total(engines.map((engine) => engine.slots)));
  const prefixes = all.flatMap(({ prefixes }) => prefixes ?? []);
  const speculation = all.flatMap(({ speculation }) => speculation ?? []);
  const merges = all.flatMap(({ merges }) => merges ?? []);
  return {
    running: total(all.map(({ running }) => running)),
    waiting: total(all.map(({ waiting }) => waiting)),
    kvUsage: total(engines.map(({ stats, slots }) => stats.kvUsage * slots)) / slots,
    preemptions: total(all.map(({ preemptions }) => preemptions)),
    ...(prefixes.length > 0 && { prefixes: sumOf(prefixes, prefixKeys) }),
    ...(speculation.length > 0 && { speculation: sumOf(speculation, speculationKeys) }),
    steps: total(all.map(({ steps }) => steps)),
    stepMs: Math.max(...all.map(({ stepMs }) => stepMs)),
    stepTokens: total(all.map(({ stepTokens }) => stepTokens)),
    adapters: {
      ...sumOf(
        all.map(({ adapters }) => adapters),
        adapterKeys,
      ),
      resident,
    },
    // Each engine has a copy of every merge.
    ...(merges.length > 0 && {
      merges: { ...sumOf(merges, ['running', 'bytes']), merged: Math.max(...merges.map(({ merged }) => merged)) },
    }),
  };
}

const prefixKeys = ['queried', 'hit', 'bytes'] as const;
const speculationKeys = ['drafts', 'drafted', 'accepted', 'pastTextBytes'] as const;
const adapterKeys = Object.keys(noAdapters) as (keyof AdapterStats)[];

/**
 * Joins what holds for a sequence on whichever engine. @param engines those that were ready at least once; not empty
 */
export function joinInfo(engines: readonly EngineInfo[]): EngineInfo {
  const [first] = engines as [EngineInfo];
  if (engines.length === 1) return first;
  const ranks = engines.flatMap(({ adapterRank }) => adapterRank ?? []);
  return {
    ...first,
    maxContext: Math.min(...engines.map(({ maxContext }) => maxContext)),
    maxSequences: total(engines.map(({ maxSequences }) => maxSequences)),
    kv: joinKv(engines.map(({ kv }) => kv)),
    ...(ranks.length > 0 && { adapterRank: Math.min(...ranks) }),
    device: engines.map(({ device }) => device).join(','),
    loadMs: Math.max(...engines.map(({ loadMs }) => loadMs)),
    weightsCached: engines.every(({ weightsCached }) => weightsCached),
  };
}

/** Sums the blocks. Where lengths differ, all memory is counted in blocks of the least length. */
function joinKv(all: readonly KvBlocks[]): KvBlocks {
  const blockTokens = Math.min(...all.map((kv) => kv.blockTokens));
  return { blockTokens, blocks: total(all.map((kv) => Math.floor((kv.blocks * kv.blockTokens) / blockTokens))) };
}

const total = (numbers: readonly number[]): number => numbers.reduce((sum, one) => sum + one, 0);

const sumOf = <K extends string>(all: readonly Readonly<Record<K, number>>[], keys: readonly K[]): Record<K, number> =>
  Object.fromEntries(keys.map((key) => [key, total(all.map((one) => one[key]))])) as Record<K, number>;
