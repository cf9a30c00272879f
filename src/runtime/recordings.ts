// Records runs that come again and again with the same shapes on a card, and replays them: the processor then starts
// one thing instead of hundreds. The run's tensors in JavaScript's memory have fixed places on the card, and inputs are
// copied there before each replay, in one piece. Knows when to record and not how: the card is behind `Recorder` and
// `ExchangePlace`.
//
// Recording takes as long as dozens of runs, and everything else waits. So a kind of run is recorded only when it has
// come often, and the recording stays when other kinds come between. All bindings share a shelf, from which the least
// recently used recording is dropped.

import { LRUCache } from 'lru-cache';
import type { Pointer } from './ort-api.ts';
import type { Tensor } from './session.ts';
import { dataOf } from './tensors.ts';

/** The card's part; one call at a time. */
export type Recorder = {
  /** Runs once, and records that run. Throws where something in it cannot be recorded. */
  record(run: RecordedRun, exchange: Exchange): Promise<Pointer>;
  replay(recording: Pointer, exchange: Exchange): Promise<void>;
  forget(recording: Pointer): void;
};

export type RecordedRun = {
  readonly session: Pointer;
  readonly binding: Pointer;
};

/**
 * A run's inputs in JavaScript's memory, its outputs, and their address on the card, where outputs lie behind inputs.
 */
export type Exchange = {
  readonly address: Pointer;
  readonly inputs: Uint8Array;
  readonly outputs: Uint8Array;
};

/** A tensor in JavaScript's memory that a binding ties. `host`: an input that kernels read before they start. */
export type TiedTensor = { readonly tensor: Tensor; readonly as: 'input' | 'host' | 'output' };

/** A tensor's place among those that are copied together, from byte `at` on. */
export type Placed = {
  readonly as: 'input' | 'output';
  readonly name: string;
  readonly tensor: Tensor;
  readonly at: number;
};

/** Memory of the card for what a recording reads and writes. */
export type ExchangePlace = {
  readonly address: Pointer;
  /** Ties the recording's inputs and outputs to this memory. */
  bind(binding: Pointer): void;
  release(): void;
};

/** Default of `runsBefore`: by then, runs started one by one have lost as much time as recording takes. */
export const usualRunsBefore = 24;

/** Most recordings. Each takes a megabyte or two of the card's memory, for its graph and for what is exchanged. */
const recordingsMax = 128;

/** Most kinds of runs that a binding counts. */
const kindsMax = 256;

/** Alignment of places, in bytes. */
const alignment = 256;

type Recorded = {
  readonly recording: Pointer;
  readonly place: ExchangePlace;
  /** Where each tensor lies, by its name. */
  readonly placed: readonly Pick<Placed, 'as' | 'name' | 'at'>[];
  readonly exchange: Exchange;
};

type Tied = ReadonlyMap<string, TiedTensor>;

/** The recordings of all bindings, by when they were last replayed. */
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

  /** Marks a recording as used; false where it was dropped to make room for others. */
  use(recorded: Recorded): boolean {
    return this.#kept.get(recorded) !== undefined;
  }

  forget(recorded: Recorded): void {
    this.#kept.delete(recorded);
  }
}

type Bound = { readonly session: Pointer; readonly binding: Pointer; readonly version: number };

/** Recordings of one binding. Its methods are called only between other runs. */
export class Recordings {
  readonly #shelf: RecordingShelf;
  /** Recordings by kind of run, which `keyOf` names. */
  readonly #known = new Map<string, Recorded>();
  readonly #seen = new Map<string, number>();
  #isPossible = true;

  constructor(shelf: RecordingShelf) {
    this.#shelf = shelf;
  }

  /**
   * Replays a recording of the run, or records it. False where the caller has to run it.
   * @param bound `version` changes whenever memory of the card is tied anew
   * @param rebind called where inputs and outputs were tied to other memory and have to be tied again
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
      // The recording was not worth its place: the run has to come as often again.
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
    const place = this.#placeFor(placed, bytes);
    if (place === null) return false;
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
      place.release();
      this.#giveUp(error as Error);
      return false;
    } finally {
      // The next run may be of another kind, which is started without a recording.
      rebind();
    }
  }

  /** null where the card has no memory left: the run then goes on without a recording. */
  #placeFor(placed: readonly Placed[], bytes: number): ExchangePlace | null {
    try {
      return this.#shelf.place(placed, bytes);
    } catch (error) {
      this.#giveUp(error as Error);
      return null;
    }
  }

  #giveUp({ message }: Error): void {
    this.#isPossible = false;
    this.#shelf.warn(`steps are not recorded on the card, which is slower: ${message}`);
  }
}

/**
 * Identifies a kind of run: a recording fixes shapes and the values of `host` inputs, and reads everything else anew.
 */
function keyOf(version: number, tied: Tied): string {
  const parts = [`${version}`];
  for (const [name, { tensor, as }] of tied) {
    parts.push(as === 'host' ? `${name} ${bytesOf(tensor).join()}` : `${name} ${tensor.shape.join()}`);
  }
  return parts.join(' ');
}

/** Places of all tensors, inputs first. */
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
