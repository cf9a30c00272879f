// Metrics of this server as one of several.

import type { MetricsRegistry } from './registry.ts';

/** Values that are read at a scrape. */
export type ReplicaReading = { readonly id: string; readonly staleSeconds: number };

/** Result of the last sweep of the store; null: none yet. */
export type OrphanReading = { readonly found: number; readonly removed: number } | null;

export type ReplicaMetrics = {
  readReplica(read: () => ReplicaReading): void;
  readOrphans(read: () => OrphanReading): void;
};

export function replicaMetrics(registry: MetricsRegistry): ReplicaMetrics {
  return {
    readReplica(read) {
      registry.info({
        name: 'lorikeet_replica_info',
        help: 'This server among those that share its database, as /v1/admin/replicas calls it',
        labels: ['replica'],
        read: () => ({ labels: { replica: read().id }, value: 1 }),
      });
      registry.reading({
        name: 'lorikeet_replica_stale_seconds',
        help: 'How much older what this server knows may be than what others acknowledge; 0: not at all',
        type: 'gauge',
        read: () => read().staleSeconds,
      });
    },
    readOrphans(read) {
      registry.reading({
        name: 'lorikeet_store_orphans',
        help: 'Contents in the store that no row has, older than the time for which they are kept, at the last look',
        type: 'gauge',
        read: () => read()?.found ?? 0,
      });
      registry.reading({
        name: 'lorikeet_store_orphans_removed_total',
        help: 'Of such contents, those that this server has removed',
        type: 'counter',
        read: () => read()?.removed ?? 0,
      });
    },
  };
}
