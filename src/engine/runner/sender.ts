// Small inputs of runs, in tensors that are made and bound anew when their sizes change, and only written otherwise.
// Also binds where a run leaves its results.

import type { Binding, Runtime, Tensor, TensorData } from '../../runtime/session.ts';
import type { LogitsPlace } from './logits-place.ts';

export type Sent = { readonly name: string; readonly data: TensorData; readonly shape: readonly number[] };

export type Sender = {
  /** Memory of an input, for the caller to write; `make` allocates memory of a new size. `place` as for a binding. */
  memory<T extends TensorData>(name: string, shape: readonly number[], make: () => T, place?: 'host'): T;
  /** Writes a copy of `data` to an input. */
  send(sent: Sent): void;
  /** Binds an output to the results of `rows` rows in `place`. */
  leave(name: string, place: LogitsPlace, rows: number): void;
  release(): void;
};

export function createSender(runtime: Runtime, binding: Binding): Sender {
  const known = new Map<string, { memory: unknown; tensor: Tensor }>();
  const keep = (name: string, memory: unknown, tensor: Tensor) => {
    const old = known.get(name);
    known.set(name, { memory, tensor });
    old?.tensor.release();
  };
  const memory: Sender['memory'] = (name, shape, make, place) => {
    const old = known.get(name);
    if (old && String(old.tensor.shape) === String(shape)) return old.memory as ReturnType<typeof make>;
    const data = make();
    const tensor = runtime.tensor(data, shape);
    binding.input(name, tensor, place);
    keep(name, data, tensor);
    return data;
  };
  return {
    memory,
    send({ name, data, shape }) {
      const own = memory(name, shape, () => data.slice() as TensorData);
      (own as { set(values: TensorData): void }).set(data);
    },
    leave(name, place, rows) {
      const old = known.get(name);
      if (old && old.memory === place.memory && old.tensor.shape[0] === rows) return;
      const tensor = place.view(rows);
      binding.output(name, tensor);
      keep(name, place.memory, tensor);
    },
    release() {
      for (const { tensor } of known.values()) tensor.release();
    },
  };
}
