// Runs that come again and again with the same shapes, recorded on the card and replayed: the processor then starts one
// thing instead of hundreds. What such a run reads of JavaScript's memory has a fixed place on the card, to which it is
// copied before each replay, in one piece.

import type { Pointer } from './ort-api.ts';
import { type DeviceMemory, type DevicePlace, deviceMemory } from './memory.ts';
import { handleOf } from './handles.ts';
import type { Tensor } from './session.ts';
import { dataOf, typeOf } from './tensors.ts';

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

/** Runs before one is recorded: recording costs as much as several. */
const runsBefore = 2;

/** Places of inputs begin at multiples of this. */
const alignment = 256;

/** What a binding ties of JavaScript's memory. */
export type TiedInput = { readonly tensor: Tensor; readonly onHost: boolean };

type Recorded = {
  readonly recording: Pointer;
  readonly memory: DeviceMemory;
  readonly views: readonly Tensor[];
  readonly inputs: Uint8Array;
  readonly places: readonly { readonly bytes: Uint8Array; readonly at: number }[];
};

/** Of one binding. */
export class Recordings {
  readonly #recorder: Recorder;
  readonly #place: DevicePlace;
  readonly #warn: (message: string) => void;
  #key = '';
  #seen = 0;
  #recorded: Recorded | null = null;
  #isPossible = true;

  constructor(recorder: Recorder, place: DevicePlace, warn: (message: string) => void) {
    this.#recorder = recorder;
    this.#place = place;
    this.#warn = warn;
  }

  /**
   * Runs from a recording, or makes one by the way. False: the caller has to run it.
   * @param version another one where anything else was tied
   * @param rebind called where inputs are tied to their own memory no more: they have to be again
   */
  async run(
    { session, binding, version }: { session: Pointer; binding: Pointer; version: number },
    tied: ReadonlyMap<string, TiedInput>,
    rebind: () => void,
  ): Promise<boolean> {
    if (!this.#isPossible) return false;
    const key = `${version} ${[...tied.values()].filter(({ onHost }) => onHost).map(({ tensor }) => bytesOf(tensor).join())}`;
    if (key !== this.#key) {
      if (this.#recorded) rebind();
      this.forget();
      this.#key = key;
      this.#seen = 0;
    }
    const known = this.#recorded;
    if (known) {
      for (const { bytes, at } of known.places) known.inputs.set(bytes, at);
      await this.#recorder.replay(known.recording, known.memory.address, known.inputs);
      return true;
    }
    if (this.#seen++ < runsBefore) return false;
    return this.#record(session, binding, tied, rebind);
  }

  forget(): void {
    const known = this.#recorded;
    this.#recorded = null;
    if (!known) return;
    this.#recorder.forget(known.recording);
    for (const view of known.views) view.release();
    known.memory.release();
  }

  async #record(
    session: Pointer,
    binding: Pointer,
    tied: ReadonlyMap<string, TiedInput>,
    rebind: () => void,
  ): Promise<boolean> {
    const { api } = this.#place;
    const places: { name: string; tensor: Tensor; bytes: Uint8Array; at: number }[] = [];
    let length = 0;
    for (const [name, { tensor, onHost }] of tied) {
      if (onHost) continue;
      const bytes = bytesOf(tensor);
      places.push({ name, tensor, bytes, at: length });
      length += Math.ceil(bytes.length / alignment) * alignment;
    }
    const memory = deviceMemory(this.#place, 'uint8', Math.max(length, alignment));
    const views = places.map(({ tensor, at }) => memory.viewAs(typeOf(dataOf(tensor)!), tensor.shape, at));
    const inputs = new Uint8Array(length);
    for (const [i, { name, bytes, at }] of places.entries()) {
      inputs.set(bytes, at);
      api.call('bindInput', binding, name, handleOf(views[i]!));
    }
    try {
      const run = { session, binding, address: memory.address, inputs };
      const recording = await this.#recorder.record(run);
      this.#recorded = { recording, memory, views, inputs, places };
      return true;
    } catch (error) {
      this.#isPossible = false;
      rebind();
      for (const view of views) view.release();
      memory.release();
      this.#warn(`steps are not recorded on the card, which is slower: ${(error as Error).message}`);
      return false;
    }
  }
}

function bytesOf(tensor: Tensor): Uint8Array {
  const data = dataOf(tensor)!;
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

