// Which adapters are in memory, as the server tells gateways. A key that may not read metrics is not told, and the list
// is as good without.

import { useEffect, useState } from 'preact/hooks';
import { open } from '../../api/client.ts';
import { namesIn, parseMetrics } from '../../api/prometheus.ts';
import { useResource } from '../../state/resource.ts';
import { now } from '../../time.ts';

const everyMs = 5000;

async function readResident(signal: AbortSignal): Promise<ReadonlySet<string> | null> {
  const answer = await open('/metrics', { signal }).catch(() => null);
  return answer === null ? null : namesIn(parseMetrics(await answer.text(), now()), 'running');
}

/** Names without version or alias. */
export function useResident(): ReadonlySet<string> {
  const [isRefused, setRefused] = useState(false);
  const read = isRefused ? undefined : everyMs;
  const { value, isLoading } = useResource<ReadonlySet<string> | null>('resident', readResident, read);
  // Once is enough to know that it is not told.
  useEffect(() => setRefused(!isLoading && value === null), [isLoading, value]);
  return value ?? none;
}

const none: ReadonlySet<string> = new Set();
