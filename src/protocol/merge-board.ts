// What several engines say of the merges that all of them are asked for, as one engine would say it. A merge is made
// when every engine that lives has it. From then on it stays as long as one has it: an engine that comes later makes it
// while the others serve it. What one engine cannot make is taken back from the others before that is told.

import type { MergeEvent } from './messages.ts';

type Made = Extract<MergeEvent, { state: 'merged' }>;
type Failed = Extract<MergeEvent, { state: 'failed' }>;

type Entry = {
  /** What each engine said last; null: nothing of interest. */
  readonly said: (MergeEvent | null)[];
  isTold: boolean;
  /** Engines that have not said yet that they have it no longer; null: it is wanted. */
  leaving: Set<number> | null;
  /** Why it is taken back, where nobody asked for that. */
  failure: Failed | null;
};

export type MergeBoardOptions = {
  readonly engines: number;
  /** It takes sequences now. */
  readonly isReady: (engine: number) => boolean;
  readonly unmerge: (engine: number, key: string) => void;
  readonly tell: (event: MergeEvent) => void;
};

export class MergeBoard {
  readonly #options: MergeBoardOptions;
  readonly #entries = new Map<string, Entry>();

  constructor(options: MergeBoardOptions) {
    this.#options = options;
  }

  /** All engines are asked for it. */
  wanted(key: string): void {
    const { engines } = this.#options;
    const said = Array.from({ length: engines }, () => null);
    if (!this.#entries.has(key)) this.#entries.set(key, { said, isTold: false, leaving: null, failure: null });
  }

  /** Takes it back from all engines. */
  unmerge(key: string): void {
    this.wanted(key);
    // Whoever asks waits for that, and no longer for why it would have been taken back.
    this.#entries.get(key)!.failure = null;
    this.#takeBack(key, this.#all);
  }

  isMade(engine: number, key: string): boolean {
    return this.#entries.get(key)?.said[engine]?.state === 'merged';
  }

  heard(engine: number, event: MergeEvent): void {
    const { key } = event;
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    if (event.state === 'unmerged') this.#hasLeft(engine, event, entry);
    else {
      entry.said[engine] = event;
      if (entry.leaving !== null) return;
      if (event.state === 'failed') this.#hasFailed(engine, event, entry);
      else this.#tellState(key, entry);
    }
  }

  /** An engine is ready now, or is no longer. */
  changed(): void {
    for (const entry of [...this.#entries.values()]) if (entry.leaving === null) this.#tellIfMade(entry);
  }

  get #all(): number[] {
    return Array.from({ length: this.#options.engines }, (_, engine) => engine);
  }

  #made({ said }: Entry): Made[] {
    return said.flatMap((one) => (one?.state === 'merged' ? [one] : []));
  }

  #hasFailed(engine: number, event: Failed, entry: Entry): void {
    // What others have made goes on; this engine serves it unmerged.
    if (entry.isTold && this.#made(entry).length > 0) return;
    entry.failure = event;
    this.#takeBack(
      event.key,
      this.#all.filter((other) => other !== engine),
    );
  }

  #takeBack(key: string, engines: readonly number[]): void {
    const entry = this.#entries.get(key)!;
    entry.leaving = new Set(engines);
    if (engines.length === 0) this.#end(key, entry);
    for (const engine of engines) this.#options.unmerge(engine, key);
  }

  #hasLeft(engine: number, { key }: MergeEvent, entry: Entry): void {
    if (entry.leaving === null || !entry.leaving.delete(engine)) return;
    if (entry.leaving.size === 0) this.#end(key, entry);
  }

  #end(key: string, { failure }: Entry): void {
    this.#entries.delete(key);
    this.#options.tell(failure ?? { key, state: 'unmerged' });
  }

  #tellState(key: string, entry: Entry): void {
    if (this.#tellIfMade(entry) || (entry.isTold && this.#made(entry).length > 0)) return;
    entry.isTold = false;
    const under = entry.said.filter((one, i) => this.#options.isReady(i) && one?.state !== 'merged');
    const progress = under.map((one) => (one?.state === 'merging' ? one.progress : 0));
    this.#options.tell({ key, state: 'merging', progress: progress.length > 0 ? Math.min(...progress) : 0 });
  }

  /** @returns whether it was told */
  #tellIfMade(entry: Entry): boolean {
    const made = this.#made(entry);
    if (entry.isTold || made.length === 0) return false;
    const isAwaited = (engine: number) =>
      this.#options.isReady(engine) && entry.said[engine]?.state !== 'merged' && entry.said[engine]?.state !== 'failed';
    if (this.#all.some(isAwaited)) return false;
    entry.isTold = true;
    const worst = made.reduce((a, b) => ((b.quality?.meanKl ?? 0) > (a.quality?.meanKl ?? 0) ? b : a));
    const [bytes, ms] = [Math.max(...made.map((one) => one.bytes)), Math.max(...made.map((one) => one.ms))];
    this.#options.tell({ ...worst, bytes, ms });
    return true;
  }
}
