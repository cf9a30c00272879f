// Samples of /metrics while the view is open, for half an hour. One every two seconds costs the server a thousandth of
// its time.

import { useEffect, useState } from 'preact/hooks';
import type { ApiError } from '../../api/client.ts';
import { open } from '../../api/client.ts';
import { parseMetrics, type Sample } from '../../api/prometheus.ts';
import { asApiError } from '../../state/resource.ts';
import { session } from '../../state/session.ts';
import { now } from '../../time.ts';

const everyMs = 2000;
const samplesMax = 900;

/** Number of samples that a rate covers, so that single requests are no spikes. */
export const window = 5;

/** Samples that stay when the view is left; another key starts anew. */
let kept: { key: string | null; samples: readonly Sample[] } = { key: null, samples: [] };

export type Samples = { readonly samples: readonly Sample[]; readonly error: ApiError | null };

export function useSamples(): Samples {
  const [state, setState] = useState<Samples>({ samples: [], error: null });
  useEffect(() => {
    const stop = new AbortController();
    const { key } = session.get();
    if (kept.key !== key) kept = { key, samples: [] };
    const read = async () => {
      try {
        const answer = await open('/metrics', { signal: stop.signal });
        const sample = parseMetrics(await answer.text(), now());
        kept = { key, samples: [...kept.samples, sample].slice(-samplesMax) };
        setState({ samples: kept.samples, error: null });
      } catch (cause) {
        if (!stop.signal.aborted) setState({ samples: kept.samples, error: asApiError(cause) });
      }
    };
    void read();
    const timer = setInterval(() => document.hidden || void read(), everyMs);
    return () => {
      stop.abort();
      clearInterval(timer);
    };
  }, []);
  return state;
}

/** Applies `between` to each sample and the one `window` before it; null for the first sample. */
export function over<T>(samples: readonly Sample[], between: (before: Sample, after: Sample) => T): (T | null)[] {
  return samples.map((sample, i) => (i === 0 ? null : between(samples[Math.max(0, i - window)]!, sample)));
}
