// Which adapters have sequences that run or wait, and which were used last, by the names that callers asked for: a
// gateway routes by these. Counts sequences; knows no engine.

import { LRUCache } from 'lru-cache';
import { limits } from '../core/limits.ts';

/** One sequence's way through the counts; `ends` may come before `runs`. */
export type Place = { runs(): void; ends(): void };

/** What one tenant called adapters. */
export type TenantNames = { readonly tenant: string; readonly names: readonly string[] };

/** Whose names are told: of one tenant, or null: of all. */
export type Viewer = string | null;

export type ActiveAdapters = {
  queued(asked: TenantNames): Place;
  /**
   * Comma-separated, as vLLM writes them: a name cannot contain a comma. Those that run, and then those that were used
   * last, as many as are in memory: the next request for one of them finds it there.
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
