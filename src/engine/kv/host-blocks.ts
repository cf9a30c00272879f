// A pool of blocks of keys and values in JavaScript's memory. The whole pool is reserved at once and touched as blocks
// are first used.

import type { ModelShape } from '../../core/base-model.ts';
import { LorikeetError } from '../../core/errors.ts';
import { kvTokenElements } from '../../core/page-sizes.ts';
import { type BlockForm, type HostReal, poolShapes, type Real, realBytes } from '../../graph/target.ts';
import { elementCount, type Runtime } from '../../runtime/session.ts';
import type { BlockMemory } from './block-kv.ts';

type KvMemory = Float16Array<ArrayBuffer> | Float32Array<ArrayBuffer>;

/** Bytes of one block of `length` tokens in all layers. */
export const kvBlockBytes = (shape: ModelShape, length: number, type: Real): number =>
  kvTokenElements(shape) * length * realBytes[type];

/** Throws `memory_exceeded` where the system refuses to reserve that many bytes. */
function reserved<T>(make: () => T, bytes: number): T {
  try {
    return make();
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    const size = `${Math.ceil(bytes / 2 ** 20)} MiB`;
    const message = `The system gives no ${size} for keys and values. Lower LORIKEET_KV_MEMORY.`;
    throw new LorikeetError('memory_exceeded', { message, param: 'LORIKEET_KV_MEMORY', cause });
  }
}

/** @param form the form of blocks that the project's own operator reads */
export function createHostBlocks(
  runtime: Runtime,
  shape: ModelShape,
  form: BlockForm,
  type: HostReal,
  blocks: number,
): BlockMemory {
  const shapes = poolShapes(form, shape, blocks);
  const elements = elementCount(shapes.keys);
  const pool = () =>
    Array.from({ length: shape.layers }, () =>
      type === 'float16' ? new Float16Array(elements) : new Float32Array(elements),
    );
  const bytes = blocks * kvBlockBytes(shape, form.length, type);
  const [keys, values] = reserved(() => [pool(), pool()] as const, bytes);
  return {
    ready: null,
    key: (layer) => runtime.tensor(keys[layer]!, shapes.keys),
    value: (layer) => runtime.tensor(values[layer]!, shapes.values),
    write: (block, position, given) => writeToken(shape, form.length, { keys, values, block, position, given }),
    release() {},
  };
}

type WrittenToken = {
  readonly keys: readonly KvMemory[];
  readonly values: readonly KvMemory[];
  readonly block: number;
  readonly position: number;
  /** Keys and values of all positions: [positions, layers, key and value, kvHeads, headDim]. */
  readonly given: Float32Array;
};

/** Stores a token as the attention operator does: values beyond the largest half float become that. */
function writeToken({ layers, kvHeads, headDim }: ModelShape, length: number, written: WrittenToken): void {
  const { keys, values, block, position, given } = written;
  const column = position % length;
  const largest = keys[0] instanceof Float16Array ? 65504 : Number.MAX_VALUE;
  const stored = (value: number) => Math.min(largest, Math.max(-largest, value));
  let at = position * layers * 2 * kvHeads * headDim;
  for (let layer = 0; layer < layers; layer++) {
    for (let head = 0; head < kvHeads; head++) {
      const first = (block * kvHeads + head) * headDim * length;
      for (let d = 0; d < headDim; d++) keys[layer]![first + d * length + column] = stored(given[at++]!);
    }
    for (let head = 0; head < kvHeads; head++) {
      const first = (block * kvHeads + head) * headDim * length + column * headDim;
      for (let d = 0; d < headDim; d++) values[layer]![first + d] = stored(given[at++]!);
    }
  }
}
