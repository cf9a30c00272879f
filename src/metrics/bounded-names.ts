// Labels with a ceiling: the first names have a series of their own, all others share `other`. A name that nobody used
// for a while gives its series to a new one; counters stay monotonic, since a series ends and is never moved.

const other = 'other';

export function boundedNames(options: {
  readonly namesMax: number;
  readonly idleMs: number;
  /** The name's series ends. */
  onDrop(name: string): void;
}): (name: string, now: number) => string {
  /** Name -> last use, the longest unused first. */
  const usedAt = new Map<string, number>();
  return (name, now) => {
    if (!usedAt.delete(name) && usedAt.size >= options.namesMax) {
      const [oldest] = usedAt;
      if (oldest === undefined || now - oldest[1] < options.idleMs) return other;
      usedAt.delete(oldest[0]);
      options.onDrop(oldest[0]);
    }
    usedAt.set(name, now);
    return name;
  };
}
