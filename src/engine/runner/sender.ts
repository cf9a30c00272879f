// Small inputs of runs, in tensors that are made and tied anew when their sizes change, and only written otherwise.

import type { Binding, Runtime, Tensor, TensorData } from '../../runtime/session.ts';

export type Sent = { readonly name: string; readonly data: TensorData; readonly shape: readonly number[] };

export type Sender = {
  /** What the input holds, to be written; `make` gives memory of a new size. */
  memory<T extends TensorData>(name: string, shape: readonly number[], make: () => T): T;
  /** A copy of `data`. */
  send(sent: Sent): void;
  /** An output in `data` itself. */
  receive(sent: Sent): void;
  release(): void;
};

export function createSender(runtime: Runtime, binding: Binding): Sender {
  const known = new Map<string, { data: TensorData; tensor: Tensor; shape: string }>();
  const tie = ({ name, data, shape }: Sent, end: 'input' | 'output') => {
    const old = known.get(name);
    const tensor = runtime.tensor(data, shape);
    known.set(name, { data, tensor, shape: String(shape) });
    binding[end](name, tensor);
    old?.tensor.release();
  };
  const memory = <T extends TensorData>(name: string, shape: readonly number[], make: () => T): T => {
    if (known.get(name)?.shape !== String(shape)) tie({ name, data: make(), shape }, 'input');
    return known.get(name)!.data as T;
  };
  return {
    memory,
    send({ name, data, shape }) {
      const own = memory(name, shape, () => data.slice() as TensorData);
      (own as { set(values: TensorData): void }).set(data);
    },
    receive(sent) {
      const { data, shape } = sent;
      const old = known.get(sent.name);
      if (old?.shape === String(shape) && old.data.buffer === data.buffer) return;
      tie(sent, 'output');
    },
    release() {
      for (const { tensor } of known.values()) tensor.release();
    },
  };
}
