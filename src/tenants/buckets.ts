// Buckets that fill steadily and hold a minute's worth. Taking more than is left makes a debt.

import type { Clock } from '../core/clock.ts';
import type { Level } from '../storage/rate-table.ts';

export type Bucket = { readonly id: string; readonly perMinute: number };

export const minuteMs = 60_000;

export class Buckets {
  readonly #levels = new Map<string, Level>();
  readonly #changed = new Set<string>();
  readonly #clock: Pick<Clock, 'now'>;

  constructor(levels: readonly Level[], clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
    for (const level of levels) this.#levels.set(level.id, level);
  }

  /** The level now. A clock that was set back fills nothing. */
  level({ id, perMinute }: Bucket): number {
    const known = this.#levels.get(id);
    if (known === undefined) return perMinute;
    const elapsed = Math.max(0, this.#clock.now() - known.at);
    return Math.min(perMinute, known.level + (elapsed * perMinute) / minuteMs);
  }

  take(bucket: Bucket, amount: number): void {
    const { id } = bucket;
    this.#levels.set(id, { id, level: this.level(bucket) - amount, at: this.#clock.now() });
    this.#changed.add(id);
  }

  /** Milliseconds until the level is reached. */
  msUntil(bucket: Bucket, level: number): number {
    const missing = Math.max(0, level - this.level(bucket));
    return bucket.perMinute === 0 ? minuteMs : Math.ceil((missing * minuteMs) / bucket.perMinute);
  }

  /** Levels that have changed since the last call. */
  takeChanged(): Level[] {
    const changed = [...this.#changed].map((id) => this.#levels.get(id)!);
    this.#changed.clear();
    return changed;
  }

  /** Marks levels as changed again, after they could not be written. */
  giveBack(levels: readonly Level[]): void {
    for (const { id } of levels) this.#changed.add(id);
  }
}
