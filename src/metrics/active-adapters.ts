// Which adapters have running or waiting sequences, and which were used last, by the names that callers wrote. Gateways
// route by these. Counts sequences; knows no engine.

import { LRUCache } from 'lru-cache';
import { limits } from '../core/limits.ts';

/** One sequence in the counts; `ends` may come before `runs`. */
export type Place = { runs(): void; ends(): void };

/** The references to adapters in a request of the tenant. */
export type TenantNames = { readonly tenant: string; readonly names: readonly string[] };

/** The tenant whose names the reader sees; null: those of all tenants. */
export type Viewer = string | null;

export type ActiveAdapters = {
  queued(asked: TenantNames): Place;
  /**
   * Names of running adapters, and then those used last, as many as are in memory: the next request for one of these
   * finds it there. They are separated by commas, as in vLLM: a name contains no comma.
   */
  running(viewer: Viewer, resident: number): string;
  waiting(viewer: Viewer): string;
};

type Counts = Map<string, number>;

export function activeAdapters(): ActiveAdapters {
  const [running, waiting]: [Counts, Counts] = [new Map(), new Map()];
  const recent = new LRUCache<string, true>({ max: limits.metricsActiveAdapters });
  return {
    queued({ tenant, names }) {
      const keys = names.map((name) => keyOf(tenant, name));
      let counts: Counts | null = waiting;
      add(waiting, keys, 1);
      const move = (to: Counts | null) => {
        if (counts !== null) add(counts, keys, -1);
        if (to !== null) add(to, keys, 1);
        if (to === running) for (const key of keys) recent.set(key, true);
        counts = to;
      };
      return { runs: () => move(running), ends: () => move(null) };
    },
    running(viewer, resident) {
      const used = [...recent.keys()].slice(0, resident);
      return list([...running.keys(), ...used], viewer);
    },
    waiting: (viewer) => list([...waiting.keys()], viewer),
  };
}

const keyOf = (tenant: string, name: string) => `${tenant}\n${name}`;

function add(counts: Counts, keys: readonly string[], by: number): void {
  for (const key of keys) {
    const count = (counts.get(key) ?? 0) + by;
    if (count === 0) counts.delete(key);
    else counts.set(key, count);
  }
}

function list(keys: readonly string[], viewer: Viewer): string {
  const seen = keys.map((key) => key.split('\n') as [string, string]);
  const names = seen.filter(([tenant]) => viewer === null || tenant === viewer).map(([, name]) => name);
  return [...new Set(names)].slice(0, limits.metricsActiveAdapters).join(',');
}
