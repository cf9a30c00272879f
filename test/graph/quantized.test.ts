import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import fc from 'fast-check';
import type { RawTensor, TensorType } from '../../src/core/base-model.ts';
import { dequantize } from '../../src/formats/dequantize.ts';
import { blockLayout } from '../../src/formats/tensor-bytes.ts';
import {
  blockSize,
  type CodeBits,
  nativeBits,
  type Quantized,
  quantize,
  roundToBlocks,
} from '../../src/graph/quantized.ts';

const exactBits: Partial<Record<TensorType, CodeBits>> = {
  Q4_0: 4,
  Q4_1: 4,
  Q4_K: 4,
  Q5_0: 8,
  Q5_1: 8,
  Q5_K: 8,
  Q8_0: 8,
};
const types = Object.keys(blockLayout) as TensorType[];
const symmetric: readonly TensorType[] = ['Q4_0', 'Q5_0', 'Q8_0'];

function tensorOf(type: TensorType, bytes: Uint8Array): RawTensor {
  const { weights, bytes: stride } = blockLayout[type];
  return { name: type, type, shape: [1, (bytes.length / stride) * weights], bytes: () => bytes };
}

/** The value with which the operators compute. */
function valueAt({ bits, codes, scales, minimums }: Quantized, i: number): number {
  const block = Math.floor(i / blockSize);
  return scales[block]! * (codes[i]! - (bits === 4 ? 8 : 128)) + (minimums?.[block] ?? 0);
}

/** Allows one rounding to float32 of the largest number in the value's sum. */
function assertExact(type: TensorType, quantized: Quantized, expected: Float32Array): void {
  for (const [i, value] of expected.entries()) {
    const block = Math.floor(i / blockSize);
    const size = Math.abs(value) + 24 * Math.abs(quantized.scales[block]!) + Math.abs(quantized.minimums?.[block] ?? 0);
    const allowed = symmetric.includes(type) ? 0 : size * 2 ** -23;
    const error = Math.abs(valueAt(quantized, i) - value);
    assert.ok(error <= allowed, `${type}, weight ${i}: ${valueAt(quantized, i)} for ${value}`);
  }
}

/** Rounding to nearest moves a weight by up to half a step; without code -128 a step is 1/127 of the extreme. */
function assertRounded(quantized: Quantized, expected: Float32Array): void {
  for (const [i, value] of expected.entries()) {
    const step = Math.abs(quantized.scales[Math.floor(i / blockSize)]!);
    const error = Math.abs(valueAt(quantized, i) - value);
    assert.ok(error <= step * 0.5001, `weight ${i}: ${valueAt(quantized, i)} for ${value}, step ${step}`);
  }
}

/** Blocks of any bytes, with their half floats made finite: exponents of 16 and more are reduced. */
function blocksOf(type: TensorType) {
  const { bytes: stride } = blockLayout[type];
  const halves = type === 'Q6_K' ? [208] : symmetric.includes(type) ? [0] : [0, 2];
  return fc.uint8Array({ minLength: 8 * stride, maxLength: 8 * stride }).map((bytes) => {
    for (let at = 0; at < bytes.length; at += stride) {
      for (const half of halves) bytes[at + half + 1]! &= 0xbf;
    }
    return bytes;
  });
}

const fixture = new URL('../fixtures/quant-blocks.json', import.meta.url);
const stored: Record<string, { bytes: string }> = JSON.parse(readFileSync(fixture, 'utf8'));

for (const type of types.filter((name) => exactBits[name])) {
  const bits = exactBits[type]!;
  test(`${type} is carried over exactly at ${bits} bits${bits === 4 ? ' and at 8' : ''}`, () => {
    assert.equal(nativeBits(type), bits);
    const check = (bytes: Uint8Array) => {
      const tensor = tensorOf(type, bytes);
      const expected = dequantize(type, bytes, tensor.shape[1]!);
      for (const width of bits === 4 ? ([4, 8] as const) : ([8] as const)) {
        const quantized = quantize(tensor, width);
        assert.equal(quantized.bits, width);
        assert.equal(quantized.minimums === null, symmetric.includes(type));
        assertExact(type, quantized, expected);
      }
    };
    check(Buffer.from(stored[type]!.bytes, 'base64'));
    fc.assert(fc.property(blocksOf(type), check), { numRuns: 50 });
  });
}

test('Q6_K is rounded to 8 bits by at most half a step', () => {
  const check = (bytes: Uint8Array) => {
    const tensor = tensorOf('Q6_K', bytes);
    assertRounded(quantize(tensor, 8), dequantize('Q6_K', bytes, tensor.shape[1]!));
  };
  assert.equal(nativeBits('Q6_K'), 8);
  check(Buffer.from(stored.Q6_K!.bytes, 'base64'));
  fc.assert(fc.property(blocksOf('Q6_K'), check), { numRuns: 50 });
});

const weight = fc.float({ noNaN: true, min: -1e4, max: 1e4 }).map((value) => (Math.abs(value) < 1e-30 ? 0 : value));
const block = fc
  .array(weight, { minLength: blockSize, maxLength: 4 * blockSize })
  .map((weights) => Float32Array.from(weights.slice(0, weights.length - (weights.length % blockSize))));

test('float weights are rounded to 8 bits by at most half a step, and the extreme keeps its value', () => {
  fc.assert(
    fc.property(block, (weights) => {
      const rounded = roundToBlocks(weights, 8);
      assertRounded(rounded, weights);
      assert.ok(rounded.codes.every((code) => code >= 1));
    }),
  );
});

test('at 4 bits the extreme takes code 0, and what would need code 16 is cut to 15', () => {
  fc.assert(
    fc.property(block, (weights) => {
      const { bits, codes, scales, minimums } = roundToBlocks(weights, 4);
      assert.deepEqual([bits, minimums], [4, null]);
      for (const [i, value] of weights.entries()) {
        const scale = scales[Math.floor(i / blockSize)]!;
        const error = Math.abs(scale * (codes[i]! - 8) - value);
        // A weight with the extreme's magnitude and the other sign is 8 steps away, and there are only 7.
        const allowed = codes[i] === 15 ? 1 : 0.5;
        assert.ok(codes[i]! <= 15 && error <= Math.abs(scale) * (allowed + 1e-4), `${value} became ${codes[i]}`);
      }
      for (let start = 0; start < weights.length; start += blockSize) {
        const magnitudes = [...weights.subarray(start, start + blockSize)].map(Math.abs);
        const extreme = magnitudes.indexOf(Math.max(...magnitudes));
        assert.equal(codes[start + extreme], magnitudes[extreme] === 0 ? 8 : 0);
      }
    }),
  );
});

test('rounding twice changes nothing the second time', () => {
  fc.assert(
    fc.property(block, fc.constantFrom<CodeBits>(4, 8), (weights, bits) => {
      const first = roundToBlocks(weights, bits);
      const values = weights.map((_, i) => valueAt(first, i));
      const second = roundToBlocks(values, bits);
      for (const [i, value] of values.entries()) {
        assert.ok(Math.abs(valueAt(second, i) - value) <= Math.abs(value) * 2 ** -22);
      }
    }),
  );
});

test('a block of zeros stays one', () => {
  for (const bits of [4, 8] as const) {
    const { codes, scales } = roundToBlocks(new Float32Array(blockSize), bits);
    assert.equal(Math.abs(scales[0]!), 0);
    assert.deepEqual(new Set(codes), new Set([bits === 4 ? 8 : 128]));
  }
});

test('an exact format asked for at fewer bits than it has is rounded as its floats are', () => {
  const bytes = Buffer.from(stored.Q8_0!.bytes, 'base64');
  const tensor = tensorOf('Q8_0', bytes);
  assert.deepEqual(quantize(tensor, 4), roundToBlocks(dequantize('Q8_0', bytes, tensor.shape[1]!), 4));
});
