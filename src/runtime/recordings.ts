// Runs that come again and again with the same shapes, recorded on a card and replayed: the processor then starts one
// thing instead of hundreds. What such a run reads of JavaScript's memory has a fixed place on the card, to which it is
// copied before each replay, in one piece. Knows when, not how: the card is behind `Recorder` and `ExchangePlace`.
//
// Recording holds everybody up for as long as dozens of runs take, so it has to be worth it: a kind of run is recorded
// when it has come often, and stays when others come between. All bindings share a shelf, whose oldest goes.

import { LRUCache } from 'lru-cache';
import type { Pointer } from './ort-api.ts';
import type { Tensor } from './session.ts';
import { dataOf } from './tensors.ts';

/** What a card does of it; one call at a time. */
export type Recorder = {
  /** Runs, and records the same run. Throws with what cannot be recorded. */
  record(run: RecordedRun, exchange: Exchange): Promise<Pointer>;
  replay(recording: Pointer, exchange: Exchange): Promise<void>;
  forget(recording: Pointer): void;
};

export type RecordedRun = {
  readonly session: Pointer;
  readonly binding: Pointer;
};

/** Memory of a run on both sides: inputs, and outputs behind them. */
export type Exchange = {
  readonly address: Pointer;
  readonly inputs: Uint8Array;
  readonly outputs: Uint8Array;
};

/** What a binding ties of JavaScript's memory. `host`: an input that kernels ask for before they start. */
export type TiedTensor = { readonly tensor: Tensor; readonly as: 'input' | 'host' | 'output' };

/** A tensor's place among those that are copied together. */
export type Placed = {
  readonly as: 'input' | 'output';
  readonly name: string;
  readonly tensor: Tensor;
  readonly at: number;
};

/** Memory of the card for what a recording reads and leaves. */
export type ExchangePlace = {
  readonly address: Pointer;
  /** Ties them to it. */
  bind(binding: Pointer): void;
  release(): void;
};

/** Of `runsBefore`: as long as recording takes is what runs have lost by then that were started one by one. */
export const usualRunsBefore = 24;

/** Each is memory of the card's, of its driver's and for what is exchanged: a megabyte or two. */
const recordingsMax = 128;

/** Kinds of runs that a binding counts. */
const kindsMax = 256;

/** Places begin at multiples of this. */
const alignment = 256;

type Recorded = {
  readonly recording: Pointer;
  readonly place: ExchangePlace;
  /** By name, where each lies. */
  readonly placed: readonly Pick<Placed, 'as' | 'name' | 'at'>[];
  readonly exchange: Exchange;
};

type Tied = ReadonlyMap<string, TiedTensor>;

/** Of all bindings, by when they were last replayed. */
export class RecordingShelf {
  readonly recorder: Recorder;
  readonly place: (placed: readonly Placed[], bytes: number) => ExchangePlace;
  readonly warn: (message: string) => void;
  readonly runsBefore: number;
  readonly #kept: LRUCache<Recorded, true>;

  constructor(
    recorder: Recorder,
    place: (placed: readonly Placed[], bytes: number) => ExchangePlace,
    warn: (message: string) => void,
    { runsBefore = usualRunsBefore, most = recordingsMax } = {},
  ) {
    this.recorder = recorder;
    this.place = place;
    this.warn = warn;
    this.runsBefore = runsBefore;
    this.#kept = new LRUCache<Recorded, true>({
      max: most,
      dispose(_, { recording, place }) {
        recorder.forget(recording);
        place.release();
      },
    });
  }

  add(recorded: Recorded): void {
    this.#kept.set(recorded, true);
  }

  /** False where it had to make room for others. */
  use(recorded: Recorded): boolean {
    return this.#kept.get(recorded) !== undefined;
  }

  forget(recorded: Recorded): void {
    this.#kept.delete(recorded);
  }
}

type Bound = { readonly session: Pointer; readonly binding: Pointer; readonly version: number };

/** Of one binding. All of it between other runs. */
export class Recordings {
  readonly #shelf: RecordingShelf;
  /** By what the run is like. */
  readonly #known = new Map<string, Recorded>();
  readonly #seen = new Map<string, number>();
  #isPossible = true;

  constructor(shelf: RecordingShelf) {
    this.#shelf = shelf;
  }

  /**
   * Runs from a recording, or makes one by the way. False: the caller has to run it.
   * @param bound `version` is another one where anything of the card's memory was tied
   * @param rebind called where inputs and outputs were tied to other memory meanwhile: they have to be tied again
   */
  async run(bound: Bound, tied: Tied, rebind: () => void): Promise<boolean> {
    if (!this.#isPossible) return false;
    const key = keyOf(bound.version, tied);
    const known = this.#known.get(key);
    if (known && this.#shelf.use(known)) {
      fill(known, tied);
      await this.#shelf.recorder.replay(known.recording, known.exchange);
      empty(known, tied);
      return true;
    }
    if (known) {
      // It was not worth its place: it has to come as often again.
      this.#known.delete(key);
      this.#seen.delete(key);
    }
    if (this.#seen.size >= kindsMax) this.#seen.clear();
    const seen = this.#seen.get(key) ?? 0;
    this.#seen.set(key, seen + 1);
    return seen >= this.#shelf.runsBefore && this.#record(key, bound, tied, rebind);
  }

  forget(): void {
    for (const recorded of this.#known.values()) this.#shelf.forget(recorded);
    this.#known.clear();
    this.#seen.clear();
  }

  async #record(key: string, { session, binding }: Bound, tied: Tied, rebind: () => void): Promise<boolean> {
    const shelf = this.#shelf;
    const { placed, inputBytes, bytes } = placesOf(tied);
    const place = shelf.place(placed, bytes);
    const [inputs, outputs] = [new Uint8Array(inputBytes), new Uint8Array(bytes - inputBytes)];
    const exchange = { address: place.address, inputs, outputs };
    fill({ exchange, placed }, tied);
    try {
      place.bind(binding);
      const recording = await shelf.recorder.record({ session, binding }, exchange);
      const recorded = { recording, place, placed: placed.map(({ as, name, at }) => ({ as, name, at })), exchange };
      this.#known.set(key, recorded);
      shelf.add(recorded);
      empty(recorded, tied);
      return true;
    } catch (error) {
      this.#isPossible = false;
      place.release();
      shelf.warn(`steps are not recorded on the card, which is slower: ${(error as Error).message}`);
      return false;
    } finally {
      // Another kind of run may be next, which is started as ever.
      rebind();
    }
  }
}

/** A recording holds shapes, and what is on the host as it was; the rest it reads anew. */
function keyOf(version: number, tied: Tied): string {
  const parts = [`${version}`];
  for (const [name, { tensor, as }] of tied) {
    parts.push(as === 'host' ? `${name} ${bytesOf(tensor).join()}` : `${name} ${tensor.shape.join()}`);
  }
  return parts.join(' ');
}

/** Inputs first. */
function placesOf(tied: Tied) {
  const placed: Placed[] = [];
  let bytes = 0;
  const place = (kind: 'input' | 'output') => {
    for (const [name, { tensor, as }] of tied) {
      if (as !== kind) continue;
      placed.push({ as, name, tensor, at: bytes });
      bytes += Math.ceil(bytesOf(tensor).length / alignment) * alignment;
    }
    return bytes;
  };
  const inputBytes = place('input');
  place('output');
  return { placed, inputBytes, bytes };
}

type Filled = Pick<Recorded, 'exchange' | 'placed'>;

function fill({ exchange: { inputs }, placed }: Filled, tied: Tied): void {
  for (const { as, name, at } of placed) if (as === 'input') inputs.set(bytesOf(tied.get(name)!.tensor), at);
}

function empty({ exchange: { inputs, outputs }, placed }: Filled, tied: Tied): void {
  for (const { as, name, at } of placed) {
    if (as !== 'output') continue;
    const bytes = bytesOf(tied.get(name)!.tensor);
    const start = at - inputs.length;
    bytes.set(outputs.subarray(start, start + bytes.length));
  }
}

function bytesOf(tensor: Tensor): Uint8Array {
  const data = dataOf(tensor)!;
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
