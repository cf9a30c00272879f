// Which adapters have sequences that run or wait, by the names that callers asked for: a gateway routes by these.
// Counts sequences; knows no engine.

import { limits } from '../core/limits.ts';

/** One sequence's way through the counts; `ends` may come before `runs`. */
export type Place = { runs(): void; ends(): void };

export type ActiveAdapters = {
  queued(names: readonly string[]): Place;
  /** Comma-separated, as vLLM writes them: a name cannot contain a comma. */
  running(): string;
  waiting(): string;
};

export function activeAdapters(): ActiveAdapters {
  const [running, waiting] = [new Map<string, number>(), new Map<string, number>()];
  return {
    queued(names) {
      let counts: Map<string, number> | null = waiting;
      add(waiting, names, 1);
      const move = (to: Map<string, number> | null) => {
        if (counts !== null) add(counts, names, -1);
        if (to !== null) add(to, names, 1);
        counts = to;
      };
      return { runs: () => move(running), ends: () => move(null) };
    },
    running: () => list(running),
    waiting: () => list(waiting),
  };
}

function add(counts: Map<string, number>, names: readonly string[], by: number): void {
  for (const name of names) {
    const count = (counts.get(name) ?? 0) + by;
    if (count === 0) counts.delete(name);
    else counts.set(name, count);
  }
}

const list = (counts: Map<string, number>) => [...counts.keys()].slice(0, limits.metricsActiveAdapters).join(',');
