// Joins the merge events of several engines, all of which are asked for the same merges, into those of one. A merge is
// made when every live engine has made it. From then on it stays as long as one engine has it: an engine that starts
// later makes it while the others serve it. A merge that one engine cannot make is taken back from the others before
// the failure is told.

import type { MergeEvent } from './messages.ts';

type Made = Extract<MergeEvent, { state: 'merged' }>;
type Failed = Extract<MergeEvent, { state: 'failed' }>;

type Entry = {
  /** Last event of each engine; null: none yet. */
  readonly said: (MergeEvent | null)[];
  isTold: boolean;
  /** Engines that have not yet reported `unmerged`; null: the merge is wanted. */
  leaving: Set<number> | null;
  /** Failure for which the merge is taken back; null where the caller asked for that. */
  failure: Failed | null;
};

export type MergeBoardOptions = {
  readonly engines: number;
  /** Whether the engine takes sequences now. */
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

  /** Notes that all engines are asked for the merge. */
  wanted(key: string): void {
    const { engines } = this.#options;
    const said = Array.from({ length: engines }, () => null);
    if (!this.#entries.has(key)) this.#entries.set(key, { said, isTold: false, leaving: null, failure: null });
  }

  /** Takes the merge back from all engines. */
  unmerge(key: string): void {
    this.wanted(key);
    // The caller waits for the `unmerged` event and no longer for an earlier failure.
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

  /** Call when an engine has become ready, or is no longer ready. */
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
    // Other engines keep the merge that they have made; this engine serves the adapter unmerged.
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

  /** Tells that the merge is made, where it is. @returns whether it told */
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
