// What a sequence needs of adapters before it may run, and what it holds until it ends: its adapter in memory, and
// pages for its row. Every hold is let go exactly once, on every kind of end.

import { LorikeetError } from '../../core/errors.ts';
import type { Admission } from '../policies/admission.ts';
import type { Sequence } from '../sequence.ts';
import type { AdapterStore } from './adapter-store.ts';
import type { PagePool } from './page-pool.ts';

export class AdapterDoor {
  readonly #store: AdapterStore;
  readonly #pool: PagePool;

  constructor(store: AdapterStore, pool: PagePool) {
    this.#store = store;
    this.#pool = pool;
  }

  /**
   * Fetches the adapters of the sequences that run next, so that they do not wait for the disk when their turn comes.
   * The first in the line is always fetched; those behind it while there is room.
   */
  prefetch(next: readonly Sequence[]): void {
    let isFirst = true;
    for (const sequence of next) {
      if (sequence.request.adapters.length === 0) continue;
      if (sequence.hold === null && (isFirst || this.#store.hasRoom)) {
        sequence.hold = this.#store.hold(sequence.request.adapters);
      }
      isFirst = false;
    }
  }

  /** Gives the sequence pages for its row where it can start. */
  admit(sequence: Sequence): Admission {
    const { adapters } = sequence.request;
    if (adapters.length === 0) return 'start';
    const adapter = sequence.hold?.adapter;
    if (!adapter) return 'wait';
    const placement = this.#pool.place(adapter);
    if (placement === null) return 'blocked';
    sequence.row = { adapter, placement, scale: adapters.length === 1 ? adapters[0]!.scale : 1 };
    return 'start';
  }

  /** Why a sequence can never start; null where it can. */
  failure({ request, hold }: Sequence): Error | null {
    if (!hold?.adapter) return hold?.error ?? null;
    if (!this.#pool.fits(hold.adapter)) {
      const message = `The adapter needs more pages than LORIKEET_ADAPTER_PAGES, which is ${this.#pool.slots}.`;
      return new LorikeetError('adapter_too_large', { message });
    }
    if (!hold.adapter.hasGains || request.adapters[0]!.scale === 1) return null;
    const message = 'An adapter with DoRA has no scale: the lengths that it sets hold for 1 only.';
    return new LorikeetError('adapter_unsupported', { message, param: 'adapter_scale' });
  }

  leave(sequence: Sequence): void {
    if (sequence.row !== null) this.#pool.release(sequence.row.placement);
    sequence.hold?.release();
    sequence.row = null;
    sequence.hold = null;
  }

  checkIntegrity(): void {
    this.#store.checkIntegrity();
    this.#pool.checkIntegrity();
  }
}
