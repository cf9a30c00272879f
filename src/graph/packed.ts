// Reads and writes rows of a linear in the packing of the native operators (native/kernels/packed.h): groups of 8 rows,
// and in each group one block of 32 inputs after another,
//
//     scales [8], minimums [8], codes of 8 rows        half floats or floats; codes of 8 or 4 bits
//
// A weight is scale * (code - zero) + minimum, as in quantized.ts. The packing stores the value of code 0 in place of
// the minimum at 4 bits, and signed codes at 8. Floats and half floats are [n / 8, k, 8]. Rows past n are zeros.

import { LorikeetError } from '../core/errors.ts';
import type { FloatBits, LinearForm, LoweredModel, LoweredTensor } from './lowered.ts';
import { blockSize, type CodeBits, zeroOf } from './quantized.ts';
import { weightMemory } from './weight-memory.ts';

export const groupRows = 8;

/** Codes [k], with a scale and a minimum for each block of 32; minimums are 0 in a symmetric form. */
export type CodedRow = {
  readonly codes: Uint8Array;
  readonly scales: Float32Array;
  readonly minimums: Float64Array;
};

export function createCodedRow(k: number): CodedRow {
  const blocks = k / blockSize;
  return { codes: new Uint8Array(k), scales: new Float32Array(blocks), minimums: new Float64Array(blocks) };
}

export type PackedForm = Pick<LinearForm, 'n' | 'k' | 'corrected' | 'halves'> & { readonly bits: CodeBits };

/** Whether the packing has minimums: at 4 bits always, as they cost nothing there. */
export const hasMinimums = ({ bits, corrected }: Pick<LinearForm, 'bits' | 'corrected'>): boolean =>
  bits === 4 || corrected;

const groupsOf = (n: number) => Math.ceil(n / groupRows);

function layoutOf({ bits, k, halves, corrected }: PackedForm) {
  const scaleBytes = groupRows * (halves ? 2 : 4);
  const minimums = hasMinimums({ bits, corrected });
  const codesAt = scaleBytes * (minimums ? 2 : 1);
  const blockBytes = codesAt + bits * groupRows * (blockSize / 8);
  return { scaleBytes, minimums, codesAt, blockBytes, groupBytes: (k / blockSize) * blockBytes };
}

export const packedBytes = (form: PackedForm): number => groupsOf(form.n) * layoutOf(form).groupBytes;

/** Form of a merged model's `embedding.packed`, which was the base's tied head: 8 bits without minimums. */
export function embeddingForm({ shape, weights }: LoweredModel): LinearForm & PackedForm {
  const { vocabulary: n, hidden: k } = shape;
  const form = { bits: 8, n, k, corrected: false, halves: true, bias: false } as const;
  const { length } = weights.get('embedding.packed')!.data;
  return { ...form, halves: length === packedBytes(form) };
}

export type PackedRows = {
  read(row: number, coded: CodedRow): void;
  /** Rounds scales and minimums to what the form holds; `fitsHalves` tells beforehand whether that changes them. */
  write(row: number, coded: CodedRow): void;
};

/**
 * Byte offsets of a block's codes in the group's first row; at 4 bits these bytes' high halves hold the other 16 codes.
 */
const places: Readonly<Record<CodeBits, Uint8Array>> = {
  4: Uint8Array.from({ length: 16 }, (_, i) => (i >> 2) * 32 + (i & 3)),
  8: Uint8Array.from({ length: blockSize }, (_, i) => (i >> 2) * 32 + (i & 3)),
};

/** Reads and writes single rows of packed data in place. */
export function packedRows(form: PackedForm, data: Uint8Array<ArrayBuffer>): PackedRows {
  const { bits, k, halves } = form;
  const { scaleBytes, minimums, codesAt, blockBytes, groupBytes } = layoutOf(form);
  const Floats = halves ? Float16Array : Float32Array;
  const floats = new Floats(data.buffer, data.byteOffset, data.byteLength / Floats.BYTES_PER_ELEMENT);
  const unit = Floats.BYTES_PER_ELEMENT;
  const zero = zeroOf(bits);
  /**
   * Distance from the minimum to what the packing stores, in scales: the value of code 0 at 4 bits, the minimum itself
   * at 8.
   */
  const shift = bits === 4 ? zero : 0;
  const where = places[bits];
  const blocks = k / blockSize;
  const start = (row: number) => Math.floor(row / groupRows) * groupBytes;
  return {
    read(row, coded) {
      const inGroup = row % groupRows;
      for (let block = 0, at = start(row); block < blocks; block++, at += blockBytes) {
        const scale = floats[at / unit + inGroup]!;
        coded.scales[block] = scale;
        coded.minimums[block] = minimums ? floats[(at + scaleBytes) / unit + inGroup]! + shift * scale : 0;
        const codes = at + codesAt + 4 * inGroup;
        const to = block * blockSize;
        if (bits === 8) {
          for (let i = 0; i < blockSize; i++) coded.codes[to + i] = data[codes + where[i]!]! ^ 128;
        } else {
          for (let i = 0; i < 16; i++) {
            const byte = data[codes + where[i]!]!;
            coded.codes[to + i] = byte & 15;
            coded.codes[to + 16 + i] = byte >> 4;
          }
        }
      }
    },
    write(row, coded) {
      const inGroup = row % groupRows;
      for (let block = 0, at = start(row); block < blocks; block++, at += blockBytes) {
        const scale = coded.scales[block]!;
        floats[at / unit + inGroup] = scale;
        if (minimums) floats[(at + scaleBytes) / unit + inGroup] = coded.minimums[block]! - shift * scale;
        const codes = at + codesAt + 4 * inGroup;
        const from = block * blockSize;
        if (bits === 8) {
          for (let i = 0; i < blockSize; i++) data[codes + where[i]!] = coded.codes[from + i]! ^ 128;
        } else {
          for (let i = 0; i < 16; i++) {
            data[codes + where[i]!] = coded.codes[from + i]! | (coded.codes[from + 16 + i]! << 4);
          }
        }
      }
    },
  };
}

/** Whether half floats hold these scales and minimums, of a linear of `bits`, exactly. */
export function fitsHalves(bits: CodeBits, scales: Float32Array, minimums: Float64Array | null): boolean {
  const shift = bits === 4 ? zeroOf(bits) : 0;
  return scales.every((scale, i) => {
    const minimum = (minimums?.[i] ?? 0) - shift * scale;
    return Math.f16round(scale) === scale && Math.f16round(minimum) === minimum;
  });
}

export const packedTensor = (data: Uint8Array<ArrayBuffer>): LoweredTensor => ({
  type: 'uint8',
  shape: [data.length],
  data,
});

/** [ceil(n / 8), k, 8] */
export type PackedFloats = Float32Array<ArrayBuffer> | Float16Array<ArrayBuffer>;

const floatArrays = { 16: Float16Array, 32: Float32Array } as const;

export const packedFloatBytes = (bits: FloatBits, n: number, k: number): number =>
  groupsOf(n) * k * groupRows * floatArrays[bits].BYTES_PER_ELEMENT;

export const createPackedFloats = (bits: FloatBits, n: number, k: number, take = weightMemory()): PackedFloats =>
  floatsIn(bits, take(packedFloatBytes(bits, n, k)));

export const packedFloats = (bits: FloatBits, { data }: LoweredTensor): PackedFloats => floatsIn(bits, data);

function floatsIn(bits: FloatBits, { buffer, byteOffset, byteLength }: LoweredTensor['data']): PackedFloats {
  const Floats = floatArrays[bits];
  return new Floats(buffer, byteOffset, byteLength / Floats.BYTES_PER_ELEMENT);
}

/** A tensor over packed floats; half floats are given to their operator as bytes. */
export const packedFloatTensor = (n: number, k: number, data: PackedFloats): LoweredTensor =>
  data instanceof Float32Array
    ? { type: 'float32', shape: [groupsOf(n), k, groupRows], data }
    : packedTensor(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));

const placeOf = (k: number, row: number) => Math.floor(row / groupRows) * k * groupRows + (row % groupRows);

/** Reads row [k] of packed floats. */
export function readFloats(data: PackedFloats, k: number, row: number, values: Float32Array): void {
  const start = placeOf(k, row);
  for (let i = 0; i < k; i++) values[i] = data[start + i * groupRows]!;
}

/** Absolute values from here on round to infinity as half floats: half a step above the largest. */
const halfMost = 65_520;

/** Writes row [k] of packed floats. Throws `model_unsupported` for values that half floats do not hold. */
export function writeFloats(data: PackedFloats, k: number, row: number, values: Float32Array): void {
  const start = placeOf(k, row);
  if (data instanceof Float16Array && values.some((value) => !(Math.abs(value) < halfMost))) {
    const message = 'A weight is beyond 65,504, the most that 16 bits hold: take 32 bits.';
    throw new LorikeetError('model_unsupported', { message });
  }
  for (let i = 0; i < k; i++) data[start + i * groupRows] = values[i]!;
}
