// Which adapters' rank pages are where: for each linear a pool of pages, in which an adapter has one range of slots.
// The pages' memory is behind `PageMemory`.
//
// An adapter stays in its slots after its last row has ended, until another adapter needs them, so that in steady state
// nothing is copied. Slots are never written while a row uses them.

import type { Clock } from '../../core/clock.ts';
import { type JoinedLinear, joinedLinears } from '../../graph/adapted-linear.ts';
import type { AdapterLoad, AdapterMove } from '../../protocol/messages.ts';
import type { PageMemory, PageRange } from './page-memory.ts';
import { PageSlots } from './page-slots.ts';
import type { ResidentAdapter } from './resident-adapter.ts';

/** An adapter's pages. Names the adapter and does not keep it: pages outlive the adapter's place in memory. */
export type Placement = {
  readonly key: string;
  /** First slot and number of pages in each linear's pool. */
  readonly ranges: ReadonlyMap<JoinedLinear, PageRange>;
  /** Resolves when the pages hold the adapter; rejects if they could not be filled, and nobody need wait for it. */
  readonly copied: Promise<void>;
  /** Whether the pages hold the adapter. */
  readonly isCopied: boolean;
};

type Entry = Placement & { users: number; isCopied: boolean };

/** Whether an entry's pages can be taken: no row uses them, and nothing writes to them. */
const isIdle = ({ users, isCopied }: Entry) => users === 0 && isCopied;

export type PagePoolOptions<Memory extends PageMemory> = {
  readonly memory: Memory;
  /** Number of slots in each linear's pool. */
  readonly slots: number;
  readonly clock: Clock;
  /**
   * Called when a copy has ended. The pages hold their adapter, or are free where the copy failed; they can be taken if
   * no row uses them.
   */
  readonly onChange: () => void;
};

export class PagePool<Memory extends PageMemory = PageMemory> {
  readonly slots: number;
  readonly memory: Memory;
  readonly #options: PagePoolOptions<Memory>;
  readonly #slots: ReadonlyMap<JoinedLinear, PageSlots>;
  /** Adapters in pages by key, the least recently placed first. */
  readonly #entries = new Map<string, Entry>();
  #copiedBytes = 0;
  #loads: AdapterLoad[] = [];
  /** Keys of adapters whose pages were filled or taken since the last `takeMoves`. */
  readonly #moved = new Set<string>();

  constructor(options: PagePoolOptions<Memory>) {
    this.slots = options.slots;
    this.memory = options.memory;
    this.#options = options;
    const linears = Object.keys(joinedLinears) as JoinedLinear[];
    this.#slots = new Map(linears.map((linear) => [linear, new PageSlots(options.slots)]));
  }

  /** False where the adapter needs more pages than a pool has: it can never run. */
  fits(adapter: ResidentAdapter): boolean {
    return [...adapter.linears.values()].every(({ pages }) => pages <= this.slots);
  }

  /**
   * Holds pages for one more row, and starts to fill them where they do not hold the adapter yet. Drops adapters that
   * no row uses if it needs their pages; null where that does not suffice.
   */
  place(adapter: ResidentAdapter): Placement | null {
    const known = this.#entries.get(adapter.key);
    if (known) {
      known.users++;
      // Makes it the last that may be dropped.
      this.#entries.delete(adapter.key);
      this.#entries.set(adapter.key, known);
      return known;
    }
    const idle = [...this.#entries.values()].filter(isIdle);
    for (;;) {
      const ranges = this.#takeRanges(adapter);
      if (ranges) return this.#add(adapter, ranges);
      // A blocked adapter asks in every step: it must not drop others for nothing.
      if (!this.#hasRoomWithoutIdle(adapter)) return null;
      this.#drop(idle.shift()!);
    }
  }

  /** Ends one row's hold. */
  release(placement: Placement): void {
    // Every placement is an entry. One whose copy failed is no longer in the map while its rows still hold it.
    const entry = placement as Entry;
    if (entry.users === 0) throw new Error('a placement was released twice');
    entry.users--;
  }

  /** Pages that rows use, in the linear with the most. */
  get used(): number {
    const used = new Map<JoinedLinear, number>();
    for (const { ranges, users } of this.#entries.values()) {
      if (users === 0) continue;
      for (const [linear, { pages }] of ranges) used.set(linear, (used.get(linear) ?? 0) + pages);
    }
    return Math.max(0, ...used.values());
  }

  /** Bytes copied into pages since the last call. */
  takeCopiedBytes(): number {
    const bytes = this.#copiedBytes;
    this.#copiedBytes = 0;
    return bytes;
  }

  /** Throws where a row uses a page, or where slots are taken without an owner; for idle moments. */
  checkIntegrity(): void {
    for (const { users, key } of this.#entries.values()) {
      if (users !== 0) throw new Error(`${users} rows still hold pages of ${key}`);
    }
    for (const [linear, slots] of this.#slots) {
      const owned = [...this.#entries.values()].reduce((sum, { ranges }) => sum + (ranges.get(linear)?.pages ?? 0), 0);
      if (owned !== slots.taken) throw new Error(`${slots.taken} pages of ${linear} are taken, ${owned} have an owner`);
    }
  }

  /** Adapters that were copied into pages since the last call. */
  takeLoads(): AdapterLoad[] {
    const loads = this.#loads;
    this.#loads = [];
    return loads;
  }

  /** Gives the adapters whose pages were filled or taken since the last call, with their present state. */
  takeMoves(): AdapterMove[] {
    const isThere = (key: string) => this.#entries.get(key)?.isCopied === true;
    const moves = [...this.#moved].map((digest) => ({ digest, place: 'pages', isThere: isThere(digest) }) as const);
    this.#moved.clear();
    return moves;
  }

  #hasRoomWithoutIdle(adapter: ResidentAdapter): boolean {
    const kept = [...this.#entries.values()].filter((entry) => !isIdle(entry));
    return [...adapter.linears].every(([linear, { pages }]) => {
      const taken = kept.flatMap(({ ranges }) => ranges.get(linear) ?? []);
      return new PageSlots(this.slots, taken).take(pages) !== null;
    });
  }

  #takeRanges(adapter: ResidentAdapter): Map<JoinedLinear, PageRange> | null {
    const ranges = new Map<JoinedLinear, PageRange>();
    for (const [linear, { pages }] of adapter.linears) {
      if (pages === 0) continue;
      const first = this.#slots.get(linear)!.take(pages);
      if (first === null) {
        this.#freeRanges(ranges);
        return null;
      }
      ranges.set(linear, { first, pages });
    }
    return ranges;
  }

  #freeRanges(ranges: ReadonlyMap<JoinedLinear, PageRange>): void {
    for (const [linear, { first, pages }] of ranges) this.#slots.get(linear)!.free(first, pages);
  }

  #add(adapter: ResidentAdapter, ranges: ReadonlyMap<JoinedLinear, PageRange>): Entry {
    const { clock, onChange } = this.#options;
    const start = clock.monotonic();
    const { key, bytes } = adapter;
    const done = () => {
      entry.isCopied = true;
      this.#moved.add(key);
      this.#loads.push({ digest: key, tier: 'memory', bytes, ms: clock.monotonic() - start });
    };
    const failed = (error: unknown) => {
      // Rows that hold the placement never run, so its slots are free at once.
      this.#drop(entry);
      throw error;
    };
    const copied = this.#copy(adapter, ranges).then(done, failed).finally(onChange);
    // The rows may have ended before the copy failed.
    copied.catch(() => {});
    const entry: Entry = { key, ranges, users: 1, isCopied: false, copied };
    this.#entries.set(key, entry);
    return entry;
  }

  #drop({ key, ranges }: Entry): void {
    this.#entries.delete(key);
    this.#moved.add(key);
    this.#freeRanges(ranges);
  }

  async #copy(adapter: ResidentAdapter, ranges: ReadonlyMap<JoinedLinear, PageRange>): Promise<void> {
    for (const [linear, range] of ranges) {
      const bytes = await this.memory.fill(linear, range, adapter.linears.get(linear)!);
      // Added after the wait, since several adapters are copied at once.
      this.#copiedBytes += bytes;
    }
  }
}
