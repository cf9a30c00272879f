// What a sequence needs of adapters before it may run, and holds until it ends: either a merge, or its adapter in
// memory with pages for its row. Which of the two is decided when the sequence starts and never changes, since its keys
// and values were computed with those weights. Every hold is released exactly once, however the sequence ends.

import { LorikeetError } from '../../core/errors.ts';
import type { AdapterStore } from '../adapters/adapter-store.ts';
import type { PagePool } from '../adapters/page-pool.ts';
import { scaleOf } from '../adapters/scale-of.ts';
import type { Merge } from '../merges/merge.ts';
import type { Merges } from '../merges/merges.ts';
import type { Admission } from '../policies/admission.ts';
import type { Sequence } from './sequence.ts';
import { failureOfVirtual, rowsOfVirtual } from './virtual-tokens.ts';

export type AdapterDoorOptions = {
  readonly store: AdapterStore;
  readonly pool: PagePool;
  readonly merges: Merges;
  /** Whether a sequence whose adapter is merged had better run on the merge now. */
  readonly prefersMerge: (sequence: Sequence) => boolean;
};

export class AdapterDoor {
  readonly #options: AdapterDoorOptions;

  constructor(options: AdapterDoorOptions) {
    this.#options = options;
  }

  /**
   * Fetches the adapters of the sequences that run next, so that these do not wait for the disk when their turn comes.
   * The first adapter in the queue is always fetched, the later ones only while the store has room.
   */
  prefetch(next: readonly Sequence[]): void {
    const { store, merges, prefersMerge } = this.#options;
    let isFirst = true;
    for (const sequence of next) {
      const { virtual, request, line } = sequence;
      const onMerge = sequence.merge !== null || (merges.ready(sequence.key) && prefersMerge(sequence));
      const hasPairs = request.adapters.length > 0 && !onMerge;
      if (virtual === null && !hasPairs) continue;
      if (isFirst || store.hasRoom) {
        if (virtual) virtual.hold ??= store.hold([virtual.adapter], line.flow);
        if (hasPairs) sequence.hold ??= store.hold(request.adapters, line.flow);
      }
      isFirst = false;
    }
  }

  /** Gives the sequence a merge, or pages for its row, if it can start now. */
  admit(sequence: Sequence): Admission {
    const { merges, prefersMerge } = this.#options;
    const { adapters } = sequence.request;
    if (sequence.virtual !== null && rowsOfVirtual(sequence.virtual) === null) return 'wait';
    if (adapters.length === 0 || sequence.merge !== null) return 'start';
    if (sequence.startedAt !== null) return this.#place(sequence);
    const merge = merges.ready(sequence.key);
    if (merge && prefersMerge(sequence)) return this.#join(sequence, merge);
    const { hold } = sequence;
    // A failure that keeps the sequence out of the mixed batch does not keep it from a merge.
    if (merge && hold && this.#failure(sequence) !== null) return this.#join(sequence, merge);
    if (!hold?.adapter) return 'wait';
    const admission = this.#place(sequence);
    return admission === 'blocked' && merge ? this.#join(sequence, merge) : admission;
  }

  /** Waits until the sequence's pages hold its adapter; gives the error if they could not be filled. */
  async pagesFailure({ adapter }: Sequence): Promise<Error | null> {
    try {
      await adapter?.placement.copied;
      return null;
    } catch (error) {
      return error as Error;
    }
  }

  /**
   * Pages that the sequence takes, or would take, in the linear that needs most; null if it needs none, or before its
   * adapter is loaded.
   */
  pagesOf({ hold, merge }: Sequence): { readonly key: string; readonly pages: number } | null {
    if (!hold?.adapter || merge !== null) return null;
    return { key: hold.key, pages: Math.max(0, ...[...hold.adapter.linears.values()].map(({ pages }) => pages)) };
  }

  /**
   * Releases the pages of a sequence that waits again. Its hold or its merge stays, so that it goes on with the same
   * weights.
   */
  preempt(sequence: Sequence): void {
    if (sequence.adapter !== null) this.#options.pool.release(sequence.adapter.placement);
    sequence.adapter = null;
  }

  /** Why a sequence can never start; null where it can. */
  failure(sequence: Sequence): Error | null {
    const failure = failureOfVirtual(sequence.virtual);
    if (failure !== null) return failure;
    if (sequence.merge !== null) return null;
    return this.#options.merges.ready(sequence.key) ? null : this.#failure(sequence);
  }

  leave(sequence: Sequence): void {
    const { pool, merges } = this.#options;
    if (sequence.adapter !== null) pool.release(sequence.adapter.placement);
    if (sequence.merge !== null) merges.leave(sequence.merge);
    sequence.hold?.release();
    sequence.virtual?.hold?.release();
    sequence.adapter = null;
    sequence.merge = null;
    sequence.hold = null;
    if (sequence.virtual) sequence.virtual.hold = null;
  }

  /**
   * Throws where the store's or the pool's books do not balance; for idle moments. Skipped while a merge is made: it
   * holds its adapter, and pages while it is measured.
   */
  checkIntegrity(): void {
    if (this.#options.merges.isWorking) return;
    this.#options.store.checkIntegrity();
    this.#options.pool.checkIntegrity();
  }

  /** Gives the sequence pages for its row; `blocked` where too few are free. */
  #place(sequence: Sequence): Admission {
    const { request, hold } = sequence;
    const adapter = hold!.adapter!;
    const placement = this.#options.pool.place(adapter);
    if (placement === null) return 'blocked';
    sequence.adapter = { adapter, placement, scale: scaleOf(request.adapters, adapter) };
    return 'start';
  }

  #join(sequence: Sequence, merge: Merge): Admission {
    this.#options.merges.join(merge);
    sequence.merge = merge;
    sequence.hold?.release();
    sequence.hold = null;
    return 'start';
  }

  #failure({ request, hold }: Sequence): Error | null {
    if (!hold?.adapter) return hold?.error ?? null;
    if (hold.adapter.virtual !== null) {
      const message = 'The adapter has virtual tokens, and none were announced.';
      return new LorikeetError('adapter_unsupported', { message });
    }
    const { pool } = this.#options;
    if (!pool.fits(hold.adapter)) {
      const message = `The adapter needs more pages than LORIKEET_ADAPTER_PAGES, which is ${pool.slots}.`;
      return new LorikeetError('adapter_too_large', { message });
    }
    try {
      scaleOf(request.adapters, hold.adapter);
      return null;
    } catch (error) {
      return error as Error;
    }
  }
}
