// What all views know of the server: its base model and whether it is ready.

import { ask } from '../api/client.ts';
import type { ModelCard, Readiness as ReadinessAnswer } from '../api/types.ts';
import { store } from './store.ts';

/** The server's answer to /readyz, or that it gives none. */
export type Readiness =
  | ReadinessAnswer
  | { readonly status: 'unreachable'; readonly reasons: []; readonly engine: null };

export const readiness = store<Readiness | null>(null);
export const baseModel = store<ModelCard | null>(null);

const everyMs = 5000;

/** Reads /readyz, whose answer of status 503 has a body too. */
async function readReadiness(): Promise<void> {
  const answer = await fetch('/readyz', { cache: 'no-store' }).then(
    (response) => response.json() as Promise<ReadinessAnswer>,
    (): Readiness => ({ status: 'unreachable', reasons: [], engine: null }),
  );
  if (JSON.stringify(answer) !== JSON.stringify(readiness.get())) readiness.set(answer);
}

/**
 * Reads readiness every few seconds.
 * @returns a function that stops it
 */
export function watchReadiness(): () => void {
  void readReadiness();
  const timer = setInterval(() => document.hidden || void readReadiness(), everyMs);
  return () => clearInterval(timer);
}

/** Reads the base model alone. Fails without a valid key where the server needs one. */
export async function readBaseModel(): Promise<void> {
  const { data } = await ask<{ data: ModelCard[] }>('/v1/models?limit=0');
  baseModel.set(data[0] ?? null);
}
