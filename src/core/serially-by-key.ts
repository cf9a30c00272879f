// Runs one piece of work after another for each key. Pieces with different keys do not wait for each other.

import { type Serially, serially } from './serially.ts';

export type SeriallyByKey = <T>(key: string, work: () => Promise<T>) => Promise<T>;

export function seriallyByKey(): SeriallyByKey {
  const turns = new Map<string, { readonly take: Serially; waiting: number }>();
  return async (key, work) => {
    const turn = turns.get(key) ?? { take: serially(), waiting: 0 };
    turns.set(key, turn);
    turn.waiting++;
    try {
      return await turn.take(work);
    } finally {
      turn.waiting--;
      if (turn.waiting === 0) turns.delete(key);
    }
  };
}
