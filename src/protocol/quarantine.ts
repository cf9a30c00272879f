// Remembers requests that were running on engines when these died. A request that was there twice is taken for the
// cause and refused for a while, whoever sends it: official clients retry by themselves, and each retry would cost
// everybody the engine.

import { createHash } from 'node:crypto';
import { LorikeetError } from '../core/errors.ts';
import type { SequenceRequest } from './messages.ts';

type Suspect = { deaths: number; at: number };

/** Deaths after which a request is refused, how long it is refused, and how many requests are remembered. */
const deathsMax = 2;
const refusedMs = 10 * 60_000;
const suspectsMax = 1024;

export class Quarantine {
  readonly #suspects = new Map<string, Suspect>();

  /** @param sequences those that the dead engine had started */
  engineDied(sequences: readonly SequenceRequest[], now: number): void {
    for (const print of new Set(sequences.map(fingerprint))) {
      const deaths = this.#deaths(print, now) + 1;
      this.#suspects.delete(print);
      this.#suspects.set(print, { deaths, at: now });
    }
    for (const [print] of this.#suspects) {
      if (this.#suspects.size <= suspectsMax) break;
      this.#suspects.delete(print);
    }
  }

  /** Throws `request_quarantined` where engines died over this request. */
  assertHarmless(sequence: Omit<SequenceRequest, 'id'>, now: number): void {
    if (this.#suspects.size === 0) return;
    if (this.#deaths(fingerprint(sequence), now) >= deathsMax) throw new LorikeetError('request_quarantined');
  }

  #deaths(print: string, now: number): number {
    const found = this.#suspects.get(print);
    return found === undefined || now - found.at > refusedMs ? 0 : found.deaths;
  }
}

/**
 * Identifies a request by all that decides the engine's work. The seed is left out: a retry may have drawn another one.
 */
function fingerprint({ promptTokens, params, adapters }: Omit<SequenceRequest, 'id'>): string {
  const weights = adapters.map(({ files, scale }) => [files.digest, scale]);
  const { seed: _, ...rest } = params;
  return createHash('sha256')
    .update(JSON.stringify([promptTokens, rest, weights]))
    .digest('base64');
}
