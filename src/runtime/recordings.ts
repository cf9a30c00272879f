// Runs that come again and again with the same shapes, recorded on a card and replayed: the processor then starts one
// thing instead of hundreds. What such a run reads of JavaScript's memory has a fixed place on the card, to which it is
// copied before each replay, in one piece. Knows when, not how: the card is behind `Recorder` and `InputPlace`.

import type { Pointer } from './ort-api.ts';
import type { Tensor } from './session.ts';
import { dataOf } from './tensors.ts';

/** What a card does of it; one call at a time. */
export type Recorder = {
  /** Runs, and records the same run. Throws with what cannot be recorded. */
  record(run: RecordedRun): Promise<Pointer>;
  replay(recording: Pointer, address: Pointer, inputs: Uint8Array): Promise<void>;
  forget(recording: Pointer): void;
};

export type RecordedRun = {
  readonly session: Pointer;
  readonly binding: Pointer;
  readonly address: Pointer;
  readonly inputs: Uint8Array;
};

/** What a binding ties of JavaScript's memory. `onHost`: kernels ask for it before they start. */
export type TiedInput = { readonly tensor: Tensor; readonly onHost: boolean };

/** An input's place among those that are copied together. */
export type PlacedInput = { readonly name: string; readonly tensor: Tensor; readonly at: number };

/** Memory of the card for a recording's inputs. */
export type InputPlace = {
  readonly address: Pointer;
  /** Ties the inputs to it. */
  bind(binding: Pointer): void;
  release(): void;
};

/** Runs before one is recorded: recording costs as much as several. */
const runsBefore = 2;

/** Places of inputs begin at multiples of this. */
const alignment = 256;

type Recorded = {
  readonly recording: Pointer;
  readonly place: InputPlace;
  readonly placed: readonly PlacedInput[];
  readonly inputs: Uint8Array;
};

type Bound = { readonly session: Pointer; readonly binding: Pointer; readonly version: number };

/** Of one binding. */
export class Recordings {
  readonly #recorder: Recorder;
  readonly #place: (inputs: readonly PlacedInput[], bytes: number) => InputPlace;
  readonly #warn: (message: string) => void;
  #key = '';
  #seen = 0;
  #recorded: Recorded | null = null;
  #isPossible = true;

  constructor(
    recorder: Recorder,
    place: (inputs: readonly PlacedInput[], bytes: number) => InputPlace,
    warn: (message: string) => void,
  ) {
    this.#recorder = recorder;
    this.#place = place;
    this.#warn = warn;
  }

  /**
   * Runs from a recording, or makes one by the way. False: the caller has to run it.
   * @param bound `version` is another one where anything else was tied
   * @param rebind called where inputs are tied to the card's memory no more: they have to be tied again
   */
  async run(bound: Bound, tied: ReadonlyMap<string, TiedInput>, rebind: () => void): Promise<boolean> {
    if (!this.#isPossible) return false;
    const key = keyOf(bound.version, tied);
    if (key !== this.#key) {
      if (this.#recorded) rebind();
      this.forget();
      this.#key = key;
      this.#seen = 0;
    }
    const known = this.#recorded;
    if (known) {
      fill(known.inputs, known.placed);
      await this.#recorder.replay(known.recording, known.place.address, known.inputs);
      return true;
    }
    return this.#seen++ >= runsBefore && this.#record(bound, tied, rebind);
  }

  forget(): void {
    const known = this.#recorded;
    this.#recorded = null;
    if (!known) return;
    this.#recorder.forget(known.recording);
    known.place.release();
  }

  async #record(bound: Bound, tied: ReadonlyMap<string, TiedInput>, rebind: () => void): Promise<boolean> {
    const { session, binding } = bound;
    const { placed, length } = placesOf(tied);
    const place = this.#place(placed, length);
    const inputs = new Uint8Array(length);
    fill(inputs, placed);
    try {
      place.bind(binding);
      const recording = await this.#recorder.record({ session, binding, address: place.address, inputs });
      this.#recorded = { recording, place, placed, inputs };
      return true;
    } catch (error) {
      this.#isPossible = false;
      rebind();
      place.release();
      this.#warn(`steps are not recorded on the card, which is slower: ${(error as Error).message}`);
      return false;
    }
  }
}

/** A recording holds what is on the host as it was. */
function keyOf(version: number, tied: ReadonlyMap<string, TiedInput>): string {
  const held = [...tied.values()].filter(({ onHost }) => onHost).map(({ tensor }) => bytesOf(tensor).join());
  return `${version} ${held.join(' ')}`;
}

function placesOf(tied: ReadonlyMap<string, TiedInput>): { placed: PlacedInput[]; length: number } {
  const placed: PlacedInput[] = [];
  let length = 0;
  for (const [name, { tensor, onHost }] of tied) {
    if (onHost) continue;
    placed.push({ name, tensor, at: length });
    length += Math.ceil(bytesOf(tensor).length / alignment) * alignment;
  }
  return { placed, length };
}

function fill(inputs: Uint8Array, placed: readonly PlacedInput[]): void {
  for (const { tensor, at } of placed) inputs.set(bytesOf(tensor), at);
}

function bytesOf(tensor: Tensor): Uint8Array {
  const data = dataOf(tensor)!;
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
