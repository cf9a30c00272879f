// The runtime as the engine sees it: tensors over memory that JavaScript owns or that only a device sees, sessions made
// from ONNX bytes, and bindings that tie names to tensors once, so that a step in steady state makes a single call.

import type { BFloat16Array } from '../core/bfloat16.ts';

export type TensorData = Float32Array | Float16Array | BFloat16Array | Uint8Array | Int32Array | BigInt64Array;
export type ElementType = 'float32' | 'float16' | 'bfloat16' | 'uint8' | 'int32' | 'int64';

/** A view on memory, which the runtime reads and writes in place; valid until `release`. */
export type Tensor = {
  readonly shape: readonly number[];
  release(): void;
};

/** Memory where sessions compute. Its first contents are undefined. */
export type Memory = {
  readonly type: ElementType;
  readonly elements: number;
  /** Views elements from `start` on. Throws where `start` is not 0 and the device's views begin at the start only. */
  view(start: number, shape: readonly number[]): Tensor;
  release(): void;
};

/** Memory from element `start` on. */
export type MemoryPlace = { readonly memory: Memory; readonly start: number };

/** Ties inputs and outputs of a session to tensors. The same tensor may be input and output (KV pools). */
export type Binding = {
  /**
   * Ties an input. An unknown name throws, here or in the next run where the tensor is only sent then. `host`: the
   * tensor is not sent, since kernels read it before they start.
   */
  input(name: string, tensor: Tensor, place?: 'host'): void;
  output(name: string, tensor: Tensor): void;
  release(): void;
};

export type Session = {
  bind(): Binding;
  /**
   * Runs off the event loop. Bound memory must not be touched until it resolves. One run at a time for each binding. On
   * a device, tensors over JavaScript's memory are sent there before each run, or fetched after it.
   */
  run(binding: Binding, options?: RunOptions): Promise<void>;
  release(): void;
};

export type RunOptions = {
  /** Whether the run computes only while cores idle, as nothing waits for it; makes no difference on a device. */
  readonly aside?: boolean;
  /** Whether the run comes again with the same shapes: a card that records runs replays it then. */
  readonly steady?: boolean;
};

export type SessionOptions = {
  /**
   * Weights by initialiser name. Sessions that are given the same tensors share them and their prepacked forms, which
   * stay as long as the runtime does.
   */
  readonly weights: ReadonlyMap<string, Tensor>;
  /** Weights of this session alone, whose prepacked forms are released with it. */
  readonly own?: ReadonlyMap<string, Tensor>;
  /** Path prefix of an operator profile (JSON), which is written when the session is released. */
  readonly profile?: string;
  /**
   * False takes memory piece by piece in every run, instead of laying it out as a whole after the first run of a shape.
   * The layout is one more block as large as all that a run holds at once, which is worth its speed where that is
   * little.
   */
  readonly planMemory?: boolean;
  /** Whether the session is made only while cores idle. */
  readonly aside?: boolean;
};

/** A device other than the processor. */
export type RuntimeDevice = {
  /** Such as `cuda:0` or `webgpu`. */
  readonly name: string;
  /** Whether views of its memory begin at the start only. */
  readonly anchored: boolean;
  /** Float type of its attention. */
  readonly real: 'float32' | 'float16' | 'bfloat16';
  /** Whether it has the project's own operators. */
  readonly hasOperators: boolean;
  /**
   * Whose attention reads the KV cache in blocks, the project's or ONNX Runtime's; null where the cache lies in rows.
   */
  readonly blocks: 'own' | 'runtime' | null;
  /** Whether steps that come again with the same sizes are recorded, and faster than others. */
  readonly records: boolean;
  /** Free bytes of its memory; null where the device does not tell. */
  freeBytes(): number | null;
};

export type Runtime = {
  /** What runs underneath, for the log, such as `onnxruntime 1.30.0, native operators avx2`. */
  readonly name: string;
  /** Path of the library. */
  readonly library: string;
  readonly providers: readonly string[];
  readonly threads: number;
  /** null where sessions compute in the memory that JavaScript sees. */
  readonly device: RuntimeDevice | null;
  /**
   * Makes a tensor over `data`, which must not be resized or detached while the tensor lives. Throws if shape and
   * length disagree.
   */
  tensor(data: TensorData, shape: readonly number[]): Tensor;
  /** Allocates memory. Memory must be neither allocated nor released while a run is under way. */
  allocate(type: ElementType, elements: number): Memory;
  /**
   * Writes half floats to places of one size in memory of 16-bit numbers, equally many to each; null where only graphs
   * can write.
   */
  readonly send: ((places: readonly MemoryPlace[], data: Float16Array) => Promise<void>) | null;
  /** Copies `bytes` bytes from each place to its counterpart, in the order of runs; null where only graphs can copy. */
  readonly copy: ((from: readonly MemoryPlace[], to: readonly MemoryPlace[], bytes: number) => Promise<void>) | null;
  /** Calls `work` while no run is under way; at once where runs may overlap. */
  betweenRuns<T>(work: () => T): Promise<T>;
  /** Compiles a model. Slow, since it prepacks weights or sends them to the device; done once for each graph. */
  session(model: Uint8Array, options: SessionOptions): Promise<Session>;
  /** Gives memory back to the system that the allocator would keep; called after something large was released. */
  giveBackFreeMemory(): Promise<void>;
};

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}
