// The last half hour as curves.

import { h } from 'preact';
import { quantile, rate, type Sample, seriesValue } from '../../api/prometheus.ts';
import { millis, percent } from '../../figures.ts';
import { Curves } from '../../parts/curves.ts';
import type { CurvesProps } from '../../parts/plot-options.ts';
import { cachedShare, tokensPerSecond } from './figures.ts';
import { over } from './samples.ts';

export function TrafficCurves({ samples }: { samples: readonly Sample[] }) {
  const x = samples.map(({ at }) => at / 1000);
  const rated = (name: string) => over(samples, (before, after) => rate(before, after, name));
  const latency = (name: string, q: number) =>
    over(samples, (before, after) => {
      const seconds = quantile(before, after, `${name}_seconds`, q);
      return seconds === null ? null : seconds * 1000;
    });
  const gauge = (name: string) => samples.map((sample) => seriesValue(sample, name));
  const pages = samples.map(
    (sample) => seriesValue(sample, 'adapter_pages_used') / (seriesValue(sample, 'adapter_pages') || 1),
  );
  const all: Omit<CurvesProps, 'x'>[] = [
    {
      label: 'Tokens a second',
      lines: [
        { name: 'generated', color: 'series-1', values: over(samples, tokensPerSecond) },
        { name: 'prompts', color: 'series-3', values: rated('prompt_tokens_total') },
        { name: 'cached', color: 'series-5', values: rated('cached_prompt_tokens_total'), isDashed: true },
      ],
    },
    {
      label: 'Sequences',
      lines: [
        { name: 'running', color: 'series-1', values: gauge('requests_running') },
        { name: 'waiting', color: 'series-2', values: gauge('requests_waiting') },
      ],
    },
    {
      label: 'First token',
      shown: millis,
      lines: [
        { name: 'median', color: 'series-1', values: latency('time_to_first_token', 0.5) },
        { name: '95th percentile', color: 'series-2', values: latency('time_to_first_token', 0.95) },
      ],
    },
    {
      label: 'Between tokens',
      shown: millis,
      lines: [
        { name: 'median', color: 'series-1', values: latency('inter_token_latency', 0.5) },
        { name: '95th percentile', color: 'series-2', values: latency('inter_token_latency', 0.95) },
      ],
    },
    {
      label: 'Memory in use',
      shown: percent,
      lines: [
        { name: 'KV cache', color: 'series-1', values: gauge('kv_cache_usage_ratio') },
        { name: 'rank pages', color: 'series-4', values: pages },
      ],
    },
    {
      label: 'Prompt tokens from the prefix cache',
      shown: percent,
      lines: [{ name: 'share', color: 'series-5', values: over(samples, cachedShare) }],
    },
  ];
  return h(
    'div',
    { class: 'cards' },
    all.map((one) =>
      h(
        'section',
        { class: 'card', key: one.label },
        h(Curves, { ...one, x, height: 160, isTime: true, fromZero: true }),
      ),
    ),
  );
}
