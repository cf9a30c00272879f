// Registers metrics and writes them as text. The only file that knows prom-client; it does not know which metrics there
// are.

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

type Definition = { readonly name: string; readonly help: string };
type Labelled<L extends string> = Definition & { readonly labels: readonly L[] };

export type CounterSeries<L extends string> = {
  add(labels: Record<L, string>, by?: number): void;
  /** Ends the series with these labels. */
  drop(labels: Record<L, string>): void;
};

export type MetricsRegistry = {
  counter<L extends string = never>(definition: Labelled<L>): CounterSeries<L>;
  /** A counter or gauge whose value is read when the metrics are scraped. */
  reading(definition: Definition & { type: 'counter' | 'gauge'; read: () => number }): void;
  /** A gauge with a series for each value of one label, read when the metrics are scraped. */
  readings<L extends string>(definition: Definition & { label: L; read: () => Readonly<Record<string, number>> }): void;
  /** A gauge of one series, whose labels are read at a scrape too: they replace those of the scrape before. */
  info<L extends string>(definition: Labelled<L> & { read(): { labels: Record<L, string>; value: number } }): void;
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
  if (options.processMetrics) {
    collectDefaultMetrics({ register: registry });
    // These gauges' names end like those of counters. They are sums of the labelled gauges beside them.
    for (const kind of ['resources', 'handles', 'requests']) registry.removeSingleMetric(`nodejs_active_${kind}_total`);
  }
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
    readings({ name, help, label, read }) {
      new Gauge({
        name,
        help,
        labelNames: [label],
        registers,
        collect() {
          this.reset();
          for (const [value, number] of Object.entries(read())) this.set({ [label]: value } as never, number);
        },
      });
    },
    info({ name, help, labels, read }) {
      new Gauge({
        name,
        help,
        labelNames: [...labels],
        registers,
        collect() {
          const { labels: values, value } = read();
          this.reset();
          this.set(values, value);
        },
      });
    },
    histogram({ name, help, buckets, labels = [] }) {
      const histogram = new Histogram({ name, help, buckets: [...buckets], labelNames: [...labels], registers });
      return (value, values) => (values === undefined ? histogram.observe(value) : histogram.observe(values, value));
    },
    textOf: (name) => registry.getSingleMetricAsString(name),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}
