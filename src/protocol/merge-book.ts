// Remembers which merges are wanted, so that every engine that becomes ready is asked for them again; and which
// unmerges an engine has not answered, since its death answers them. Pure bookkeeping.

import type { MergeEvent, MergeRequest } from './messages.ts';

/** Deaths of engines during a merge after which the merge counts as their cause, so that it is not asked for again. */
const deathsMax = 3;

type Wanted = { readonly request: MergeRequest; isMerging: boolean; isMade: boolean; deaths: number };

export class MergeBook {
  readonly #wanted = new Map<string, Wanted>();
  /** Merges that the engine was told to unmerge and has not yet reported as gone. */
  readonly #unmerging = new Set<string>();
  readonly #listeners: ((event: MergeEvent) => void)[] = [];

  get wanted(): readonly MergeRequest[] {
    return [...this.#wanted.values()].map(({ request }) => request);
  }

  /** Adds a merge; false where it is already wanted. */
  add(request: MergeRequest): boolean {
    if (this.#wanted.has(request.key)) return false;
    this.#wanted.set(request.key, { request, isMerging: false, isMade: false, deaths: 0 });
    return true;
  }

  delete(key: string): void {
    this.#wanted.delete(key);
    this.#unmerging.add(key);
  }

  listen(listener: (event: MergeEvent) => void): void {
    this.#listeners.push(listener);
  }

  /** Records an event and passes it on to the listeners. A merge that failed is not asked for again. */
  record(event: MergeEvent): void {
    const wanted = this.#wanted.get(event.key);
    if (wanted !== undefined) {
      wanted.isMerging = event.state === 'merging';
      wanted.isMade = event.state === 'merged';
    }
    if (wanted !== undefined && event.state === 'merged') wanted.deaths = 0;
    if (event.state === 'failed') this.#wanted.delete(event.key);
    if (event.state === 'unmerged') this.#unmerging.delete(event.key);
    for (const listener of this.#listeners) listener(event);
  }

  /** Answers pending unmerges, and marks finished merges as to be made again. */
  engineDied(): void {
    for (const key of this.#unmerging) this.record({ key, state: 'unmerged' });
    // The engine makes merges one after another in this order, so the first one was under way.
    const [underWay] = [...this.#wanted].filter(([, { isMerging }]) => isMerging);
    for (const [key, { isMade }] of this.#wanted) if (isMade) this.record({ key, state: 'merging', progress: 0 });
    for (const wanted of this.#wanted.values()) wanted.isMerging = false;
    if (underWay === undefined) return;
    const [key, wanted] = underWay;
    wanted.deaths++;
    const message = 'The engine died each time that it worked on this merge.';
    if (wanted.deaths >= deathsMax) this.record({ key, state: 'failed', code: 'engine_failed', message });
  }
}
