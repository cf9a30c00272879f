// Which merges are wanted: every engine that becomes ready is asked for them again. Pure bookkeeping.

import type { MergeEvent, MergeRequest } from './messages.ts';

export class MergeBook {
  readonly #wanted = new Map<string, MergeRequest>();
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

  delete(key: string): void {
    this.#wanted.delete(key);
  }

  listen(listener: (event: MergeEvent) => void): void {
    this.#listeners.push(listener);
  }

  /** What failed is not asked for again. */
  tell(event: MergeEvent): void {
    if (event.state === 'failed') this.#wanted.delete(event.key);
    for (const listener of this.#listeners) listener(event);
  }
}
