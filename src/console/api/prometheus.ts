// Parses Prometheus' text format of /metrics. Only the server's own series are kept, without their prefix `lorikeet_`.

export type Sample = {
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** Values by series: `name{label="value"}`. */
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

/** Sums of the series of a metric by the value of one label. */
export function byLabel({ values }: Sample, name: string, label: string): Map<string, number> {
  const found = new Map<string, number>();
  const wanted = new RegExp(`[{,]${label}="([^"]*)"`);
  for (const [key, value] of values) {
    const [, said] = key.startsWith(`${name}{`) ? (wanted.exec(key) ?? []) : [];
    if (said !== undefined) found.set(said, (found.get(said) ?? 0) + value);
  }
  return found;
}

/** Growth of a counter a second between two samples; null where a restart reset it. */
export function rate(before: Sample, after: Sample, name: string): number | null {
  const grown = seriesValue(after, name) - seriesValue(before, name);
  return grown < 0 ? null : (grown * 1000) / Math.max(1, after.at - before.at);
}

/**
 * A quantile of what a histogram observed between two samples, by linear interpolation in its bucket, as Prometheus'
 * histogram_quantile. null where it observed nothing.
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

/** Names, without version or alias, of adapters that run, or ran last, or that wait. */
export function namesIn({ values }: Sample, which: 'running' | 'waiting'): Set<string> {
  const info = [...values.keys()].find((key) => key.startsWith('lora_requests_info{')) ?? '';
  const names = new RegExp(`${which}_lora_adapters="([^"]*)"`).exec(info)?.[1] ?? '';
  return new Set(names.split(',').map((name) => name.replace(/[@:].*$/, '')));
}
