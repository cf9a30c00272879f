// Which adapters are in memory. A hold keeps an adapter there, and loads it first if necessary. Adapters without holds
// stay until the budget needs their room; `evictee` chooses which goes first. All holds on an adapter that is being
// loaded wait for the same load. Knows keys and bytes; the reader knows what an adapter is made of.

import { LRUCache } from 'lru-cache';
import type { AppliedAdapter } from '../../core/adapter.ts';
import type { Clock } from '../../core/clock.ts';
import { LorikeetError } from '../../core/errors.ts';
import { commonShare } from '../../core/share.ts';
import type { AdapterLoad, AdapterMove } from '../../protocol/messages.ts';
import { evictee } from '../policies/evictee.ts';
import type { Scaled } from './combine-adapters.ts';
import type { ResidentAdapter } from './resident-adapter.ts';

export type AdapterHold = {
  readonly key: string;
  /** null while the adapter is loading, and if the load failed. */
  readonly adapter: ResidentAdapter | null;
  readonly error: Error | null;
  /** Settles, and never rejects, when the load is over. */
  readonly settled: Promise<void>;
  /** Must be called exactly once; throws otherwise. */
  release(): void;
};

export type AdapterStoreOptions = {
  readonly bytesMax: number;
  readonly clock: Clock;
  read(adapter: AppliedAdapter): Promise<ResidentAdapter>;
  combine(key: string, scaled: readonly Scaled[]): Promise<ResidentAdapter>;
  /** Called when a load has ended. */
  onChange(): void;
};

/** Loads at a time: one reads the disk while the other converts. More would only share the same thread. */
const loadsMax = 2;

type Entry = {
  adapter: ResidentAdapter | null;
  error: Error | null;
  holds: number;
  settled: Promise<void>;
  /** Flow of the sequence that asked for it last. */
  flow: number;
};

export class AdapterStore {
  readonly #options: AdapterStoreOptions;
  /** Adapters that are held or being loaded. */
  readonly #held = new Map<string, Entry>();
  readonly #idle: LRUCache<string, ResidentAdapter>;
  /** For adapters without holds, the flow of the sequence that asked last. */
  readonly #flows = new Map<string, number>();
  readonly #waiting: (() => void)[] = [];
  #loading = 0;
  #heldBytes = 0;
  #loads: AdapterLoad[] = [];
  /** Keys of adapters that came or went since the last `takeMoves`. */
  readonly #moved = new Set<string>();
  evictions = 0;

  constructor(options: AdapterStoreOptions) {
    this.#options = options;
    this.#idle = new LRUCache<string, ResidentAdapter>({
      maxSize: Math.max(1, options.bytesMax),
      sizeCalculation: ({ bytes }) => bytes,
      dispose: (adapter, _, reason) => {
        if (reason === 'evict') this.#dropped(adapter);
      },
    });
  }

  /** True while another adapter may be fetched ahead of its turn. */
  get hasRoom(): boolean {
    return this.#heldBytes < this.#options.bytesMax && this.#loading < loadsMax;
  }

  get residentBytes(): number {
    return this.#heldBytes + this.#idle.calculatedSize;
  }

  get resident(): number {
    const held = [...this.#held.values()].filter(({ adapter }) => adapter !== null).length;
    return held + this.#idle.size;
  }

  /** Gives the loads since the last call. */
  takeLoads(): AdapterLoad[] {
    const loads = this.#loads;
    this.#loads = [];
    return loads;
  }

  /** Gives the adapters that came or went since the last call, with their present state. */
  takeMoves(): AdapterMove[] {
    const isThere = (key: string) => this.#idle.has(key) || !!this.#held.get(key)?.adapter;
    const moves = [...this.#moved].map((digest) => ({ digest, place: 'memory', isThere: isThere(digest) }) as const);
    this.#moved.clear();
    return moves;
  }

  has(key: string): boolean {
    return this.#idle.has(key) || this.#held.has(key);
  }

  /**
   * Holds the adapters of one sequence, at least one, as a single adapter.
   * @param flow the sequence's; null for work of the engine's own, which leaves the adapter on its last flow's account
   */
  hold(adapters: readonly AppliedAdapter[], flow: number | null = null): AdapterHold {
    const key = keyOf(adapters);
    const entry = this.#held.get(key) ?? this.#open(key, adapters, flow ?? this.#flows.get(key) ?? commonShare.flow);
    entry.holds++;
    if (flow !== null) entry.flow = flow;
    let isReleased = false;
    return {
      key,
      settled: entry.settled,
      get adapter() {
        return entry.adapter;
      },
      get error() {
        return entry.error;
      },
      release: () => {
        if (isReleased) throw new Error('a hold was released twice');
        isReleased = true;
        entry.holds--;
        this.#settle(key, entry);
      },
    };
  }

  /**
   * Throws where anything is held; for idle moments. Does nothing while a load goes on, since a load outlives its
   * sequences, and one of several adapters holds these until it ends.
   */
  checkIntegrity(): void {
    if ([...this.#held.values()].some(({ adapter, error }) => adapter === null && error === null)) return;
    if (this.#held.size > 0) throw new Error(`adapters are still held: ${[...this.#held.keys()]}`);
    if (this.#heldBytes !== 0) throw new Error(`${this.#heldBytes} bytes are held by nobody`);
  }

  #open(key: string, adapters: readonly AppliedAdapter[], flow: number): Entry {
    const idle = this.#idle.get(key) ?? null;
    const entry: Entry = { adapter: null, error: null, holds: 0, settled: Promise.resolve(), flow };
    this.#held.set(key, entry);
    if (idle) {
      this.#idle.delete(key);
      this.#flows.delete(key);
      this.#arrive(entry, idle);
    } else entry.settled = this.#load(key, entry, adapters);
    return entry;
  }

  async #load(key: string, entry: Entry, adapters: readonly AppliedAdapter[]): Promise<void> {
    try {
      const [only, ...others] = adapters as [AppliedAdapter, ...AppliedAdapter[]];
      const adapter = others.length === 0 ? await this.#read(only) : await this.#combine(key, adapters, entry.flow);
      const { bytesMax } = this.#options;
      if (adapter.bytes > bytesMax) throw tooLarge(adapter.bytes, bytesMax);
      this.#arrive(entry, adapter);
    } catch (error) {
      entry.error = error as Error;
    }
    this.#settle(key, entry);
    this.#options.onChange();
  }

  async #read(adapter: AppliedAdapter): Promise<ResidentAdapter> {
    // A load that ends hands its place to the first that waits, so no other load can slip in between.
    if (this.#loading >= loadsMax) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#loading++;
    const { clock, read } = this.#options;
    const start = clock.monotonic();
    try {
      const resident = await read(adapter);
      const { digest } = adapter.files;
      this.#loads.push({ digest, tier: 'disk', bytes: resident.bytes, ms: clock.monotonic() - start });
      return resident;
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#loading--;
    }
  }

  async #combine(key: string, adapters: readonly AppliedAdapter[], flow: number): Promise<ResidentAdapter> {
    const holds = adapters.map((adapter) => this.hold([adapter], flow));
    try {
      await Promise.all(holds.map(({ settled }) => settled));
      const scaled = holds.map(({ adapter, error }, i) => {
        if (adapter === null) throw error;
        return { adapter, scale: adapters[i]!.scale };
      });
      return await this.#options.combine(key, scaled);
    } finally {
      for (const hold of holds) hold.release();
    }
  }

  #arrive(entry: Entry, adapter: ResidentAdapter): void {
    entry.adapter = adapter;
    this.#moved.add(adapter.key);
    this.#heldBytes += adapter.bytes;
    this.#makeRoom();
  }

  /** Makes an adapter without holds, unless it is still loading, droppable when its room is needed. */
  #settle(key: string, { adapter, error, holds, flow }: Entry): void {
    if (holds > 0 || (adapter === null && error === null)) return;
    if (!this.#held.delete(key) || adapter === null) return;
    this.#heldBytes -= adapter.bytes;
    this.#flows.set(key, flow);
    this.#idle.set(key, adapter);
    this.#makeRoom();
  }

  #makeRoom(): void {
    while (this.#idle.size > 0 && this.residentBytes > this.#options.bytesMax) {
      const idle = [...this.#idle.rkeys()].map((key) => {
        return { key, bytes: this.#idle.peek(key)!.bytes, flow: this.#flows.get(key)! };
      });
      const key = evictee(idle);
      const adapter = this.#idle.peek(key)!;
      this.#idle.delete(key);
      this.#dropped(adapter);
    }
  }

  #dropped({ key }: ResidentAdapter): void {
    this.#flows.delete(key);
    this.#moved.add(key);
    this.evictions++;
  }
}

/**
 * A key made of digests, which adapters' names never enter. A single adapter's scale is not part of the key, since its
 * weights do not depend on it; the scales of several are.
 */
export function keyOf(adapters: readonly AppliedAdapter[]): string {
  if (adapters.length === 1) return adapters[0]!.files.digest;
  return adapters.map(({ files, scale }) => `${files.digest}*${scale}`).join('+');
}

function tooLarge(bytes: number, bytesMax: number): LorikeetError {
  const message = `The adapter takes ${bytes} bytes in memory; LORIKEET_ADAPTER_MEMORY is ${bytesMax}.`;
  return new LorikeetError('adapter_too_large', { message });
}
