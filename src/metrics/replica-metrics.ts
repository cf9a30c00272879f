// What is measured of this server as one of several.

import type { MetricsRegistry } from './registry.ts';

/** What is read at the moment of a scrape. */
export type ReplicaReading = { readonly id: string; readonly staleSeconds: number };

export type ReplicaMetrics = { readReplica(read: () => ReplicaReading): void };

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
  };
}
