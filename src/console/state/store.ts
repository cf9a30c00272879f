// A value that several components read.

import { useEffect, useState } from 'preact/hooks';

export type Store<T> = {
  get(): T;
  set(value: T): void;
  /** @returns a function that stops listening */
  listen(told: () => void): () => void;
};

export function store<T>(first: T): Store<T> {
  let value = first;
  const listeners = new Set<() => void>();
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const told of listeners) told();
    },
    listen(told) {
      listeners.add(told);
      return () => listeners.delete(told);
    },
  };
}

export function useStore<T>(source: Store<T>): T {
  const [value, setValue] = useState<{ now: T }>({ now: source.get() });
  useEffect(() => {
    const read = () => setValue({ now: source.get() });
    read();
    return source.listen(read);
  }, [source]);
  return value.now;
}
