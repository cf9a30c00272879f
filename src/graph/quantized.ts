// Weights in the form of quantised operators: integer codes, one scale for each block of 32 and, where the format has a
// float minimum, one minimum for each block: w = scale * (code - zero) + minimum. Knows ggml's blocks.
//
// Every 4- and 5-bit format is carried over exactly. Q6_K (blocks of 16) and float weights are rounded to 8 bits.

import type { RawTensor, TensorType } from '../core/base-model.ts';
import { dequantize } from '../formats/dequantize.ts';
import { halfAt } from '../formats/half.ts';
import { elementCount } from '../formats/tensor-bytes.ts';
import { isFloats, type LinearBits } from './lowered.ts';

export const blockSize = 32;

export type CodeBits = 4 | 8;

/** The bits of a linear for which `asked` are wanted: codes need whole blocks, so any other `k` makes it float. */
export const bitsFor = (k: number, asked: LinearBits): LinearBits =>
  k % blockSize === 0 || isFloats(asked) ? asked : 32;

export type Quantized = {
  readonly bits: CodeBits;
  /** One code for each byte, row-major [n, k]; the zero is 8 for 4 bits, 128 for 8. */
  readonly codes: Uint8Array;
  /** [n, k / 32] */
  readonly scales: Float32Array;
  /** [n, k / 32], exact; null where every block is symmetric. */
  readonly minimums: Float64Array | null;
};

export const zeroOf = (bits: CodeBits): number => (bits === 4 ? 8 : 128);

/** Arrays that a reader fills; `minimums` is empty for a format without minimums. */
type Out = { readonly codes: Uint8Array; readonly scales: Float32Array; readonly minimums: Float64Array };
type Reader = (bytes: Uint8Array, out: Out) => void;

/** Formats whose values are held exactly by a scale, a code and a minimum. */
const exact: Partial<Record<TensorType, { bits: CodeBits; minimum: boolean; read: Reader }>> = {
  Q4_0: { bits: 4, minimum: false, read: (bytes, out) => readSmallBlocks(bytes, out, smallBlocks.Q4_0) },
  Q4_1: { bits: 4, minimum: true, read: (bytes, out) => readSmallBlocks(bytes, out, smallBlocks.Q4_1) },
  Q5_0: { bits: 8, minimum: false, read: (bytes, out) => readSmallBlocks(bytes, out, smallBlocks.Q5_0) },
  Q5_1: { bits: 8, minimum: true, read: (bytes, out) => readSmallBlocks(bytes, out, smallBlocks.Q5_1) },
  Q8_0: { bits: 8, minimum: false, read: readEightBits },
  Q4_K: { bits: 4, minimum: true, read: (bytes, out) => readSuperBlocks(bytes, out, 4) },
  Q5_K: { bits: 8, minimum: true, read: (bytes, out) => readSuperBlocks(bytes, out, 5) },
};

/** The fewest bits of codes that hold a format's values; 8 for formats that have to be rounded, floats too. */
export function nativeBits(type: TensorType): CodeBits {
  return exact[type]?.bits ?? 8;
}

/** Codes of a whole tensor in `bits`; an exact 4-bit format asked for at 8 bits keeps its values. */
export function quantize(tensor: RawTensor, bits: CodeBits): Quantized {
  const count = elementCount(tensor.shape)!;
  const format = exact[tensor.type];
  if (!format || format.bits > bits) return roundToBlocks(dequantize(tensor.type, tensor.bytes(), count), bits);
  const codes = new Uint8Array(count);
  const scales = new Float32Array(count / blockSize);
  const minimums = new Float64Array(format.minimum ? count / blockSize : 0);
  format.read(tensor.bytes(), { codes, scales, minimums });
  if (format.bits < bits) {
    const shift = zeroOf(bits) - zeroOf(format.bits);
    for (let i = 0; i < count; i++) codes[i]! += shift;
  }
  return { bits, codes, scales, minimums: format.minimum ? minimums : null };
}

/** Symmetric rounding to nearest: the largest magnitude of a block gets the last code (as ggml's Q4_0 and Q8_0). */
export function roundToBlocks(weights: Float32Array, bits: CodeBits): Quantized {
  const zero = zeroOf(bits);
  const codes = new Uint8Array(weights.length);
  const scales = new Float32Array(weights.length / blockSize);
  for (let block = 0; block < scales.length; block++) {
    const start = block * blockSize;
    let extreme = 0;
    for (let i = start; i < start + blockSize; i++) {
      if (Math.abs(weights[i]!) > Math.abs(extreme)) extreme = weights[i]!;
    }
    // At 4 bits the extreme gets code -8, which has no positive counterpart.
    const scale = Math.fround(bits === 4 ? extreme / -8 : Math.abs(extreme) / 127);
    scales[block] = scale;
    const inverse = scale === 0 ? 0 : 1 / scale;
    for (let i = start; i < start + blockSize; i++) {
      codes[i] = Math.min(2 * zero - 1, Math.max(0, Math.round(weights[i]! * inverse) + zero));
    }
  }
  return { bits, codes, scales, minimums: null };
}

type SmallBlocks = {
  /** Bytes of a block, and the offset of its nibbles; a minimum, if any, follows the scale. */
  readonly stride: number;
  readonly nibbles: number;
  /** The format's middle code, and what is added to its codes to give those of its bits here. */
  readonly zero: number;
  readonly shift: number;
};

const smallBlocks = {
  Q4_0: { stride: 18, nibbles: 2, zero: 8, shift: 0 },
  Q4_1: { stride: 20, nibbles: 4, zero: 8, shift: 0 },
  Q5_0: { stride: 22, nibbles: 6, zero: 16, shift: 128 - 16 },
  Q5_1: { stride: 24, nibbles: 8, zero: 16, shift: 128 - 16 },
} as const satisfies Partial<Record<TensorType, SmallBlocks>>;

/**
 * Weight j of a block of 32 is the low half of byte j, weight j + 16 the high half. Formats of 5 bits hold the fifth
 * bits together, in the 32-bit word before the nibbles.
 */
function readSmallBlocks(bytes: Uint8Array, out: Out, { stride, nibbles, zero, shift }: SmallBlocks): void {
  const fifthBits = zero === 16;
  const fifth = (at: number, j: number) => (fifthBits ? ((bytes[at - 4 + (j >> 3)]! >> (j & 7)) & 1) << 4 : 0);
  for (let block = 0; block < out.scales.length; block++) {
    const start = block * stride;
    const scale = halfAt(bytes, start);
    out.scales[block] = scale;
    if (out.minimums.length > 0) out.minimums[block] = halfAt(bytes, start + 2) + zero * scale;
    const at = start + nibbles;
    for (let j = 0; j < 16; j++) {
      const byte = bytes[at + j]!;
      out.codes[block * blockSize + j] = (byte & 15) + fifth(at, j) + shift;
      out.codes[block * blockSize + j + 16] = (byte >> 4) + fifth(at, j + 16) + shift;
    }
  }
}

function readEightBits(bytes: Uint8Array, out: Out): void {
  for (let block = 0; block < out.scales.length; block++) {
    const at = block * 34;
    out.scales[block] = halfAt(bytes, at);
    for (let j = 0; j < blockSize; j++) out.codes[block * blockSize + j] = (bytes[at + 2 + j]! ^ 128) & 255;
  }
}

/** Q4_K, Q5_K: 8 blocks share two half floats; each has a 6-bit scale and a 6-bit minimum (ggml's get_scale_min_k4). */
function readSuperBlocks(bytes: Uint8Array, out: Out, bits: 4 | 5): void {
  const stride = bits === 4 ? 144 : 176;
  const nibbles = bits === 4 ? 16 : 48;
  const zero = bits === 4 ? 8 : 16;
  const shift = bits === 4 ? 0 : 128 - 16;
  for (let superBlock = 0; superBlock * 8 < out.scales.length; superBlock++) {
    const at = superBlock * stride;
    const scaleUnit = halfAt(bytes, at);
    const minimumUnit = halfAt(bytes, at + 2);
    for (let sub = 0; sub < 8; sub++) {
      const [scaleCode, minimumCode] = sixBitPair(bytes, at + 4, sub);
      const block = superBlock * 8 + sub;
      const scale = Math.fround(scaleUnit * scaleCode);
      out.scales[block] = scale;
      out.minimums[block] = zero * scale - minimumUnit * minimumCode;
      for (let j = 0; j < blockSize; j++) {
        const byte = bytes[at + nibbles + (sub >> 1) * 32 + j]!;
        const fifth = bits === 5 ? ((bytes[at + 16 + j]! >> sub) & 1) << 4 : 0;
        out.codes[block * blockSize + j] = (sub & 1 ? byte >> 4 : byte & 15) + fifth + shift;
      }
    }
  }
}

function sixBitPair(bytes: Uint8Array, at: number, sub: number): [scale: number, minimum: number] {
  if (sub < 4) return [bytes[at + sub]! & 63, bytes[at + sub + 4]! & 63];
  const low = bytes[at + sub + 4]!;
  const scale = (low & 15) | ((bytes[at + sub - 4]! >> 6) << 4);
  return [scale, (low >> 4) | ((bytes[at + sub]! >> 6) << 4)];
}
