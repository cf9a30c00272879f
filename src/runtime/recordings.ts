// Runs that come again and again with the same shapes, recorded on a card and replayed: the processor then starts one
// thing instead of hundreds. What such a run reads of JavaScript's memory has a fixed place on the card, to which it is
// copied before each replay, in one piece. Knows when, not how: the card is behind `Recorder` and `ExchangePlace`.

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

/** Runs before one is recorded: recording costs as much as several. */
const runsBefore = 2;

/** Places begin at multiples of this. */
const alignment = 256;

type Recorded = {
  readonly recording: Pointer;
  readonly place: ExchangePlace;
  readonly placed: readonly Placed[];
  readonly exchange: Exchange;
};

type Bound = { readonly session: Pointer; readonly binding: Pointer; readonly version: number };

/** Of one binding. */
export class Recordings {
  readonly #recorder: Recorder;
  readonly #place: (placed: readonly Placed[], bytes: number) => ExchangePlace;
  readonly #warn: (message: string) => void;
  #key = '';
  #seen = 0;
  #recorded: Recorded | null = null;
  #isPossible = true;

  constructor(
    recorder: Recorder,
    place: (placed: readonly Placed[], bytes: number) => ExchangePlace,
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
  async run(bound: Bound, tied: ReadonlyMap<string, TiedTensor>, rebind: () => void): Promise<boolean> {
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
      fill(known);
      await this.#recorder.replay(known.recording, known.exchange);
      empty(known);
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

  async #record(bound: Bound, tied: ReadonlyMap<string, TiedTensor>, rebind: () => void): Promise<boolean> {
    const { session, binding } = bound;
    const { placed, inputBytes, bytes } = placesOf(tied);
    const place = this.#place(placed, bytes);
    const [inputs, outputs] = [new Uint8Array(inputBytes), new Uint8Array(bytes - inputBytes)];
    const exchange = { address: place.address, inputs, outputs };
    fill({ exchange, placed });
    try {
      place.bind(binding);
      const recording = await this.#recorder.record({ session, binding }, exchange);
      this.#recorded = { recording, place, placed, exchange };
      empty(this.#recorded);
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
function keyOf(version: number, tied: ReadonlyMap<string, TiedTensor>): string {
  const held = [...tied.values()].filter(({ as }) => as === 'host').map(({ tensor }) => bytesOf(tensor).join());
  return `${version} ${held.join(' ')}`;
}

/** Inputs first. */
function placesOf(tied: ReadonlyMap<string, TiedTensor>) {
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

function fill({ exchange: { inputs }, placed }: Filled): void {
  for (const { as, tensor, at } of placed) if (as === 'input') inputs.set(bytesOf(tensor), at);
}

function empty({ exchange: { inputs, outputs }, placed }: Filled): void {
  for (const { as, tensor, at } of placed) {
    if (as !== 'output') continue;
    const bytes = bytesOf(tensor);
    const start = at - inputs.length;
    bytes.set(outputs.subarray(start, start + bytes.length));
  }
}

function bytesOf(tensor: Tensor): Uint8Array {
  const data = dataOf(tensor)!;
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
