// The only file that knows prom-client. It knows how metrics are kept and written, not which ones there are.

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

type Definition = { readonly name: string; readonly help: string };
type Labelled<L extends string> = Definition & { readonly labels: readonly L[] };

export type Series<L extends string> = { labels: Record<L, string>; value: number };

export type CounterSeries<L extends string> = {
  add(labels: Record<L, string>, by?: number): void;
  /** The series with these labels ends. */
  drop(labels: Record<L, string>): void;
};

export type MetricsRegistry = {
  counter<L extends string = never>(definition: Labelled<L>): CounterSeries<L>;
  /** A counter or gauge whose value is read when the metrics are scraped. */
  reading(definition: Definition & { type: 'counter' | 'gauge'; read: () => number }): void;
  /** A gauge whose series are read when the metrics are scraped; others are gone. */
  readings<L extends string>(definition: Labelled<L> & { read(): Series<L>[] }): void;
  /** A gauge of one series whose labels are what it says: the series before is gone at every scrape. */
  info<L extends string>(definition: Labelled<L> & { read(): Series<L> }): void;
  histogram<L extends string = never>(
    definition: Definition & { buckets: readonly number[]; labels?: readonly L[] },
  ): (value: number, labels?: Record<L, string>) => void;
  /** The Prometheus text of one metric, without a final line break. */
  textOf(name: string): Promise<string>;
  text(): Promise<string>;
  readonly contentType: string;
};

export function metricsRegistry(options: { processMetrics: boolean }): MetricsRegistry {
  const registry = new Registry();
  const registers = [registry];
  if (options.processMetrics) collectDefaultMetrics({ register: registry });
  const defineReadings: MetricsRegistry['readings'] = ({ name, help, labels, read }) =>
    new Gauge({
      name,
      help,
      labelNames: [...labels],
      registers,
      collect() {
        this.reset();
        for (const { labels: values, value } of read()) this.set(values, value);
      },
    });
  return {
    counter({ name, help, labels }) {
      const counter = new Counter({ name, help, labelNames: [...labels], registers });
      return { add: (values, by = 1) => counter.inc(values, by), drop: (values) => counter.remove(values) };
    },
    reading({ name, help, type, read }) {
      if (type === 'gauge') {
        new Gauge({
          name,
          help,
          registers,
          collect() {
            this.set(read());
          },
        });
        return;
      }
      new Counter({
        name,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(read());
        },
      });
    },
    readings: defineReadings,
    info: ({ read, ...definition }) => defineReadings({ ...definition, read: () => [read()] }),
    histogram({ name, help, buckets, labels = [] }) {
      const histogram = new Histogram({ name, help, buckets: [...buckets], labelNames: [...labels], registers });
      return (value, values) => (values === undefined ? histogram.observe(value) : histogram.observe(values, value));
    },
    textOf: (name) => registry.getSingleMetricAsString(name),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}
