// The runtime as the engine sees it: tensors over memory that JavaScript owns or that only a device sees, sessions made
// from ONNX bytes, and bindings that tie names to tensors once, so that a step in steady state makes a single call.

import type { BFloat16Array } from '../core/bfloat16.ts';

export type TensorData = Float32Array | Float16Array | BFloat16Array | Uint8Array | Int32Array | BigInt64Array;
export type ElementType = 'float32' | 'float16' | 'bfloat16' | 'uint8' | 'int32' | 'int64';

/** A view on memory. The runtime reads and writes it in place; it stays valid until `release`. */
export type Tensor = {
  readonly shape: readonly number[];
  release(): void;
};

/** Memory where sessions compute. What it holds at first is not said. */
export type Memory = {
  readonly type: ElementType;
  readonly elements: number;
  /** Elements from `start` on. Throws where `start` is not 0 and views of the device begin at the start only. */
  view(start: number, shape: readonly number[]): Tensor;
  release(): void;
};

/** From an element on. */
export type MemoryPlace = { readonly memory: Memory; readonly start: number };

/** Inputs and outputs of a session tied to tensors. The same tensor may be input and output (KV pools). */
export type Binding = {
  /**
   * An unknown name is an error: here, or of the next run where the tensor is sent with that. `host`: it is not sent,
   * since kernels ask for it before they start.
   */
  input(name: string, tensor: Tensor, place?: 'host'): void;
  output(name: string, tensor: Tensor): void;
  release(): void;
};

export type Session = {
  bind(): Binding;
  /**
   * Runs off the event loop. Bound memory must not be touched until it resolves. One run at a time per binding. On a
   * device, tensors over JavaScript's memory are sent there before each run, or fetched after it.
   */
  run(binding: Binding, options?: RunOptions): Promise<void>;
  release(): void;
};

export type RunOptions = {
  /** Of what others leave of the processor, for whom nobody waits. A device makes no difference. */
  readonly aside?: boolean;
  /** It comes again with the same shapes: a card that can records it, and replays it from then on. */
  readonly steady?: boolean;
};

export type SessionOptions = {
  /**
   * Weights by initialiser name. Sessions given the same tensors share them and their prepacked forms, which stay as
   * long as the runtime does.
   */
  readonly weights: ReadonlyMap<string, Tensor>;
  /** Weights of this session alone: their prepacked forms go when it is released. */
  readonly own?: ReadonlyMap<string, Tensor>;
  /** Write an operator profile (JSON) under this path prefix when the session is released. */
  readonly profile?: string;
  /**
   * False: memory is taken piece by piece in every run, not laid out as a whole after the first run of a shape. The
   * layout is one more block as large as all that a run holds at once: worth its speed where that is little.
   */
  readonly planMemory?: boolean;
  /** As of a run. */
  readonly aside?: boolean;
};

/** A device other than the processor. */
export type RuntimeDevice = {
  /** `cuda:0`, `webgpu` */
  readonly name: string;
  /** Views of its memory begin at the start only. */
  readonly anchored: boolean;
  /** What its attention computes with. */
  readonly real: 'float32' | 'float16' | 'bfloat16';
  /** It has the project's own operators. */
  readonly hasOperators: boolean;
  /** Whose attention reads keys and values there in blocks, the project's or ONNX Runtime's; null: they lie in rows. */
  readonly blocks: 'own' | 'runtime' | null;
  /** Steps that come again with the same sizes are faster than others. */
  readonly records: boolean;
  /** null where it does not tell. */
  freeBytes(): number | null;
};

export type Runtime = {
  /** What runs underneath, for the log: `onnxruntime 1.30.0, native operators avx2`. */
  readonly name: string;
  /** The file that it was loaded from. */
  readonly library: string;
  readonly providers: readonly string[];
  readonly threads: number;
  /** null: sessions compute in the memory that JavaScript sees. */
  readonly device: RuntimeDevice | null;
  /** Zero-copy: `data` must not be resized or detached while the tensor lives. Throws if shape and length disagree. */
  tensor(data: TensorData, shape: readonly number[]): Tensor;
  /** Not while a run is under way; nor may memory be released then. */
  allocate(type: ElementType, elements: number): Memory;
  /**
   * Writes half floats to places of one size in memory of 16-bit numbers, as many to each; null where only graphs can.
   */
  readonly send: ((places: readonly MemoryPlace[], data: Float16Array) => Promise<void>) | null;
  /** Copies `bytes` from each place to the one of the same number, in the order of runs; null where only graphs can. */
  readonly copy: ((from: readonly MemoryPlace[], to: readonly MemoryPlace[], bytes: number) => Promise<void>) | null;
  /** What must not happen while a run is under way; at once where runs may overlap. */
  betweenRuns<T>(work: () => T): Promise<T>;
  /** Compiles a model. Slow (prepacks weights, or sends them to the device), and done once per graph. */
  session(model: Uint8Array, options: SessionOptions): Promise<Session>;
  /** After the release of something large: the system gets back what the allocator would keep. */
  giveBackFreeMemory(): Promise<void>;
};

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}
