// The only file that knows prom-client. It knows how metrics are kept and written, not which ones there are.

import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

type Definition = { readonly name: string; readonly help: string };
type Labelled<L extends string> = Definition & { readonly labels: readonly L[] };

export type MetricsRegistry = {
  counter<L extends string = never>(definition: Labelled<L>): (labels: Record<L, string>, by?: number) => void;
  /** A counter or gauge whose value is read when the metrics are scraped. */
  reading(definition: Definition & { type: 'counter' | 'gauge'; read: () => number }): void;
  histogram(definition: Definition & { buckets: readonly number[] }): (value: number) => void;
  /** The Prometheus text of one metric, without a final line break. */
  textOf(name: string): Promise<string>;
  text(): Promise<string>;
  readonly contentType: string;
};

export function metricsRegistry(options: { processMetrics: boolean }): MetricsRegistry {
  const registry = new Registry();
  const registers = [registry];
  if (options.processMetrics) collectDefaultMetrics({ register: registry });
  return {
    counter({ name, help, labels }) {
      const counter = new Counter({ name, help, labelNames: [...labels], registers });
      return (values, by = 1) => counter.inc(values, by);
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
    histogram({ name, help, buckets }) {
      const histogram = new Histogram({ name, help, buckets: [...buckets], registers });
      return (value) => histogram.observe(value);
    },
    textOf: (name) => registry.getSingleMetricAsString(name),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}
