// The current state in figures.

import { quantile, rate, type Sample, seriesValue } from '../../api/prometheus.ts';
import { bytes, count, figure, millis, percent } from '../../figures.ts';
import { window } from './samples.ts';

export function figuresOf(samples: readonly Sample[]) {
  const after = samples.at(-1)!;
  const before = samples.at(-1 - window) ?? samples[0]!;
  const value = (name: string) => seriesValue(after, name);
  const first = quantile(before, after, 'time_to_first_token_seconds', 0.5);
  const cached = cachedShare(samples[0]!, after);
  return [
    { name: 'Tokens/s', value: figure(tokensPerSecond(before, after) ?? 0), about: 'generated, all rows' },
    { name: 'Running', value: count(value('requests_running')), about: `${value('requests_waiting')} waiting` },
    { name: 'First token', value: first === null ? '–' : millis(first * 1000), about: 'median' },
    { name: 'KV cache', value: percent(value('kv_cache_usage_ratio')), about: 'of its positions' },
    { name: 'Prefix cache', value: cached === null ? '–' : percent(cached), about: 'of prompt tokens' },
    {
      name: 'Adapters resident',
      value: count(value('adapters_resident')),
      about: bytes(value('adapters_resident_bytes')),
    },
    {
      name: 'Rank pages',
      value: `${value('adapter_pages_used')}/${value('adapter_pages')}`,
      about: `${count(value('adapter_evictions_total'))} evictions`,
    },
  ];
}

/**
 * Generated tokens a second. These counters grow with each token, while that of generated tokens waits for a sequence's
 * end.
 */
export function tokensPerSecond(before: Sample, after: Sample): number | null {
  const first = rate(before, after, 'time_to_first_token_seconds_count');
  const next = rate(before, after, 'inter_token_latency_seconds_count');
  return first === null || next === null ? null : first + next;
}

export function cachedShare(before: Sample, after: Sample): number | null {
  const grown = (name: string) => seriesValue(after, name) - seriesValue(before, name);
  const prompts = grown('prompt_tokens_total');
  return prompts <= 0 ? null : grown('cached_prompt_tokens_total') / prompts;
}
