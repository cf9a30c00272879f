// The engine's merges, by the key of their adapters. They are made one after another. Sequences join a merge that is
// ready and stay on it to their end. A merge that is unmerged takes no new sequences, and is removed when its last one
// has ended; if it is asked for again meanwhile, it is made anew after that. Knows no rows.
//
//   merge:    (none) -> queued -> making -> ready          events merging ... merged | failed
//   unmerge:  queued, making -> (none)                     unmerged, once all it held is released
//             ready -> draining -> (none)                  unmerged

import type { Clock } from '../../core/clock.ts';
import { LorikeetError } from '../../core/errors.ts';
import type { MergeEvent, MergeRequest } from '../../protocol/messages.ts';
import { type MadeMerge, type MergeLife, type MergeMaker, MergeUnwanted, makeMerge } from './make-merge.ts';
import type { Merge } from './merge.ts';

export type MergesOptions = MergeMaker & {
  /** Most bytes that all merges together may take beside the base. */
  readonly bytesMax: number;
  readonly clock: Clock;
  readonly emit: (event: MergeEvent) => void;
  /** Called when a merge came or went: a sequence may start now. */
  readonly onChange: () => void;
};

type Ready = { readonly merge: Merge; readonly made: MadeMerge; readonly ms: number };

type Entry = {
  readonly request: MergeRequest;
  /** null until the merge serves. */
  ready: Ready | null;
  /** False once the merge is to be removed. */
  isWanted: boolean;
  users: number;
  /** The request that came while the merge was being removed; null without one. */
  again: MergeRequest | null;
};

/** Progress between two events. */
const progressStep = 0.05;

export class Merges {
  readonly #options: MergesOptions;
  readonly #entries = new Map<string, Entry>();
  /** The work that was asked for so far, one item after another. */
  #work: Promise<void> = Promise.resolve();
  #working = 0;

  constructor(options: MergesOptions) {
    this.#options = options;
  }

  /** Makes a merge. If it is ready already, its `merged` event is emitted again. */
  merge(request: MergeRequest): void {
    const entry = this.#entries.get(request.key);
    if (!entry) this.#add(request);
    else if (!entry.isWanted) entry.again = request;
    else if (entry.ready) this.#tellReady(request.key, entry.ready);
  }

  unmerge(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) {
      this.#options.emit({ key, state: 'unmerged' });
      return;
    }
    entry.again = null;
    if (!entry.isWanted) return;
    entry.isWanted = false;
    if (entry.ready && entry.users === 0) this.#later(() => this.#remove(entry));
  }

  /** The merge that a sequence with these weights may run on; null where none is ready. */
  ready(key: string): Merge | null {
    const entry = this.#entries.get(key);
    return entry?.isWanted && entry.ready ? entry.ready.merge : null;
  }

  /** Counts one more sequence that runs on the merge, until `leave`. */
  join(merge: Merge): void {
    this.#of(merge).users++;
  }

  leave(merge: Merge): void {
    const entry = this.#of(merge);
    if (entry.users === 0) throw new Error('a merge was left twice');
    entry.users--;
    if (!entry.isWanted && entry.users === 0) this.#later(() => this.#remove(entry));
  }

  /** Whether a merge is being made or released. */
  get isWorking(): boolean {
    return this.#working > 0;
  }

  get stats(): { merged: number; bytes: number; running: number } {
    const there = [...this.#entries.values()].filter(({ ready }) => ready !== null);
    return {
      merged: there.filter(({ isWanted }) => isWanted).length,
      bytes: this.#bytes,
      running: there.reduce((sum, { users }) => sum + users, 0),
    };
  }

  /**
   * @param running the merge of each of the engine's sequences
   * Throws where the books do not balance.
   */
  checkIntegrity(running: readonly (Merge | null)[]): void {
    const counts = Map.groupBy(
      running.filter((merge) => merge !== null),
      (merge) => merge,
    );
    for (const [key, { ready, users, isWanted }] of this.#entries) {
      const found = ready === null ? 0 : (counts.get(ready.merge)?.length ?? 0);
      if (users !== found) throw new Error(`${users} sequences hold the merge ${key}, ${found} run on it`);
      if (ready && users === 0 && !isWanted && !this.isWorking) throw new Error(`the merge ${key} should be gone`);
      if (ready) counts.delete(ready.merge);
    }
    if (counts.size > 0) throw new Error('sequences run on a merge that is not there');
    if (this.#bytes > this.#options.bytesMax) throw new Error(`merges take ${this.#bytes} bytes`);
  }

  get #bytes(): number {
    return [...this.#entries.values()].reduce((sum, { ready }) => sum + (ready?.made.bytes ?? 0), 0);
  }

  #of(merge: Merge): Entry {
    const entry = this.#entries.get(merge.key);
    if (entry?.ready?.merge !== merge) throw new Error('the merge is not there');
    return entry;
  }

  #add(request: MergeRequest): void {
    const entry: Entry = { request, ready: null, isWanted: true, users: 0, again: null };
    this.#entries.set(request.key, entry);
    this.#options.emit({ key: request.key, state: 'merging', progress: 0 });
    this.#later(() => this.#make(entry));
  }

  /** Queues work behind what was asked for before. */
  #later(work: () => Promise<void>): void {
    this.#working++;
    this.#work = this.#work.then(work).finally(() => {
      this.#working--;
    });
  }

  async #make(entry: Entry): Promise<void> {
    const { clock, onChange, emit } = this.#options;
    const { key } = entry.request;
    const start = clock.monotonic();
    try {
      const made = await makeMerge(this.#options, entry.request, this.#lifeOf(entry));
      const merge = { key, model: made.model, bits: made.bits };
      entry.ready = { merge, made, ms: clock.monotonic() - start };
      if (!entry.isWanted) return await this.#remove(entry);
      this.#tellReady(key, entry.ready);
    } catch (error) {
      if (!entry.isWanted) this.#gone(entry);
      else {
        this.#entries.delete(key);
        emit({ key, state: 'failed', ...causeOf(error as Error) });
      }
    }
    onChange();
  }

  #lifeOf(entry: Entry): MergeLife {
    let told = 0;
    return {
      bytesLeft: this.#options.bytesMax - this.#bytes,
      isWanted: () => entry.isWanted,
      onProgress: (progress) => {
        if (progress < told + progressStep) return;
        told = progress;
        this.#options.emit({ key: entry.request.key, state: 'merging', progress });
      },
    };
  }

  /** If the device fails to release what the merge held, that memory is lost; the merge is gone all the same. */
  async #remove(entry: Entry): Promise<void> {
    try {
      await this.#options.decoder.removeMerged(entry.ready!.merge.model);
    } catch (error) {
      console.error(error);
    }
    this.#gone(entry);
    this.#options.onChange();
  }

  #gone({ request, again }: Entry): void {
    this.#entries.delete(request.key);
    this.#options.emit({ key: request.key, state: 'unmerged' });
    if (again) this.#add(again);
  }

  #tellReady(key: string, { made, ms }: Ready): void {
    const { bits, bytes, quality } = made;
    this.#options.emit({ key, state: 'merged', bits, bytes, ms, quality });
  }
}

/** Keeps the code of a `LorikeetError`; any other error is a defect of this program and becomes `internal_error`. */
function causeOf(error: Error): Pick<LorikeetError, 'code' | 'message'> {
  if (error instanceof LorikeetError) return { code: error.code, message: error.message };
  if (!(error instanceof MergeUnwanted)) console.error(error);
  return { code: 'internal_error', message: 'The adapter could not be merged.' };
}
