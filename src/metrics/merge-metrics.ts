// Metrics of merges: their number, memory and duration, and the policy's decisions.

import type { MetricsRegistry } from './registry.ts';

const states = ['merging', 'merged', 'draining', 'failed'] as const;

/** Values that are read at a scrape. */
export type MergeReading = {
  readonly states: readonly string[];
  readonly usedBytes: number;
  readonly budgetBytes: number;
};

export type MergeMetrics = {
  readMerges(read: () => MergeReading): void;
  mergeMade(ms: number): void;
  /** Counts a decision of automatic merging, in the policy's words. */
  mergeDecided(decision: { readonly decision: string; readonly reason: string }): void;
};

const mergeSeconds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600];

export function mergeMetrics(registry: MetricsRegistry): MergeMetrics {
  const made = registry.histogram({
    name: 'lorikeet_merge_seconds',
    help: 'Making a merge, the comparison with the unmerged weights included',
    buckets: mergeSeconds,
  });
  const decided = registry.counter({
    name: 'lorikeet_merge_decisions_total',
    help: 'Decisions of automatic merging, by their reason',
    labels: ['decision', 'reason'],
  });
  return {
    readMerges(read) {
      registry.readings({
        name: 'lorikeet_merges',
        help: 'Merges by state',
        label: 'state',
        read() {
          const now = read().states;
          return Object.fromEntries(states.map((state) => [state, now.filter((one) => one === state).length]));
        },
      });
      const gauge = (name: string, help: string, value: (reading: MergeReading) => number) =>
        registry.reading({ name, help, type: 'gauge', read: () => value(read()) });
      gauge('lorikeet_merged_bytes', 'Bytes of merged weights beside the base', ({ usedBytes }) => usedBytes);
      gauge('lorikeet_merge_budget_bytes', 'Bytes that they may take', ({ budgetBytes }) => budgetBytes);
    },
    mergeMade: (ms) => made(ms / 1000),
    mergeDecided: ({ decision, reason }) => decided.add({ decision, reason }),
  };
}
