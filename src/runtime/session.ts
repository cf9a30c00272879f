// The runtime as the engine sees it: tensors over memory that JavaScript owns, sessions made from ONNX bytes, and
// bindings that tie names to tensors once, so that a step in steady state makes a single call.

export type TensorData = Float32Array | Uint8Array | Int32Array | BigInt64Array;

/** A view on memory. The runtime reads and writes `data` in place; it stays valid until `release`. */
export type Tensor = {
  readonly data: TensorData;
  readonly shape: readonly number[];
  release(): void;
};

/** Inputs and outputs of a session tied to tensors. The same tensor may be input and output (KV pools). */
export type Binding = {
  input(name: string, tensor: Tensor): void;
  output(name: string, tensor: Tensor): void;
  release(): void;
};

export type Session = {
  bind(): Binding;
  /** Runs off the event loop. Bound memory must not be touched until it resolves. One run at a time per binding. */
  run(binding: Binding): Promise<void>;
  release(): void;
};

export type SessionOptions = {
  /** Weights by initialiser name. Sessions given the same tensors share them and their prepacked forms. */
  readonly weights: ReadonlyMap<string, Tensor>;
  /** Write an operator profile (JSON) under this path prefix when the session is released. */
  readonly profile?: string;
  /**
   * False: memory is taken piece by piece in every run, not laid out as a whole after the first run of a shape. The
   * layout is one more block as large as all that a run holds at once: worth its speed where that is little.
   */
  readonly planMemory?: boolean;
};

export type Runtime = {
  /** What runs underneath, for the log: `onnxruntime 1.30.0`. */
  readonly name: string;
  readonly providers: readonly string[];
  readonly threads: number;
  /**
   * Zero-copy: `data` must not be resized or detached while the tensor lives. Throws if shape and length disagree.
   * `packed` bytes hold two elements each, the low half first.
   */
  tensor(data: TensorData, shape: readonly number[], packed?: 'uint4'): Tensor;
  /** Compiles a model. Slow (prepacks weights), and done once per graph. */
  session(model: Uint8Array, options: SessionOptions): Promise<Session>;
};

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}
