// Bounds the number of label values: the first names have a series each, all others share `other`. A name without use
// for a while gives its series to a new one. Counters stay monotonic, since a series ends and never gets another name.

const other = 'other';

export function boundedNames(options: {
  readonly namesMax: number;
  readonly idleMs: number;
  /** Called when the name's series ends. */
  onDrop(name: string): void;
}): (name: string, now: number) => string {
  /** Time of each name's last use, longest unused first. */
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
