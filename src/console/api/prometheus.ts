// Prometheus' text format, as /metrics writes it -> numbers. Names of series are kept without the server's prefix.

export type Sample = {
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** `name{label="value"}` -> value. */
  readonly values: ReadonlyMap<string, number>;
};

const line = /^lorikeet_([a-z0-9_]+)(\{[^}]*\})? ([^ ]+)/;

export function parseMetrics(text: string, at: number): Sample {
  const values = new Map<string, number>();
  for (const row of text.split('\n')) {
    const [, name, labels = '', value] = line.exec(row) ?? [];
    if (name !== undefined) values.set(name + labels, Number(value));
  }
  return { at, values };
}

export const seriesValue = ({ values }: Sample, name: string): number => values.get(name) ?? 0;

/** Label's value -> number, of all series with it together: whichever other labels they have. */
export function byLabel({ values }: Sample, name: string, label: string): Map<string, number> {
  const found = new Map<string, number>();
  const wanted = new RegExp(`[{,]${label}="([^"]*)"`);
  for (const [key, value] of values) {
    const [, said] = key.startsWith(`${name}{`) ? (wanted.exec(key) ?? []) : [];
    if (said !== undefined) found.set(said, (found.get(said) ?? 0) + value);
  }
  return found;
}

/** What a counter grew by a second between two samples; null where a restart set it back. */
export function rate(before: Sample, after: Sample, name: string): number | null {
  const grown = seriesValue(after, name) - seriesValue(before, name);
  return grown < 0 ? null : (grown * 1000) / Math.max(1, after.at - before.at);
}

/**
 * A quantile of what a histogram took in between two samples, by linear interpolation in its bucket, as Prometheus'
 * histogram_quantile does. null where it took nothing.
 */
export function quantile(before: Sample, after: Sample, name: string, q: number): number | null {
  const upper = [...byLabel(after, `${name}_bucket`, 'le')];
  const lower = byLabel(before, `${name}_bucket`, 'le');
  const counts = upper.map(([le, value]) => [Number(le.replace('+Inf', 'Infinity')), value - (lower.get(le) ?? 0)]);
  const total = counts.at(-1)?.[1] ?? 0;
  if (total <= 0) return null;
  let [start, below] = [0, 0];
  for (const [end, cumulative] of counts as [number, number][]) {
    if (cumulative >= q * total) {
      if (end === Number.POSITIVE_INFINITY) return start;
      return start + ((end - start) * (q * total - below)) / Math.max(1, cumulative - below);
    }
    [start, below] = [end, cumulative];
  }
  return start;
}

/** Adapters that run or were used last, or that wait: without version or alias. */
export function namesIn({ values }: Sample, which: 'running' | 'waiting'): Set<string> {
  const info = [...values.keys()].find((key) => key.startsWith('lora_requests_info{')) ?? '';
  const names = new RegExp(`${which}_lora_adapters="([^"]*)"`).exec(info)?.[1] ?? '';
  return new Set(names.split(',').map((name) => name.replace(/[@:].*$/, '')));
}
