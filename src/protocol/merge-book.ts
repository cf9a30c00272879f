// Which merges are wanted: every engine that becomes ready is asked for them again; and which unmerges an engine has
// not answered: its death answers them. Pure bookkeeping.

import type { MergeEvent, MergeRequest } from './messages.ts';

export class MergeBook {
  readonly #wanted = new Map<string, MergeRequest>();
  readonly #leaving = new Set<string>();
  readonly #listeners: ((event: MergeEvent) => void)[] = [];

  get wanted(): readonly MergeRequest[] {
    return [...this.#wanted.values()];
  }

  /** False where it is there already. */
  add(request: MergeRequest): boolean {
    if (this.#wanted.has(request.key)) return false;
    this.#wanted.set(request.key, request);
    return true;
  }

  /** An engine answers it, or its death does. */
  delete(key: string): void {
    this.#wanted.delete(key);
    this.#leaving.add(key);
  }

  engineDied(): void {
    for (const key of [...this.#leaving]) this.tell({ key, state: 'unmerged' });
  }

  listen(listener: (event: MergeEvent) => void): void {
    this.#listeners.push(listener);
  }

  /** What failed is not asked for again. */
  tell(event: MergeEvent): void {
    if (event.state === 'failed') this.#wanted.delete(event.key);
    if (event.state === 'unmerged') this.#leaving.delete(event.key);
    for (const listener of this.#listeners) listener(event);
  }
}
