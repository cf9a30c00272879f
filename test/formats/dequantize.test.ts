import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { TensorType } from '../../src/core/base-model.ts';
import { dequantize } from '../../src/formats/dequantize.ts';
import { blockLayout, elementCount, tensorBytes } from '../../src/formats/tensor-bytes.ts';

const fixture = new URL('../fixtures/quant-blocks.json', import.meta.url);
const cases: Record<string, { bytes: string; floats: string }> = JSON.parse(readFileSync(fixture, 'utf8'));

test('there are reference blocks of every type', () => {
  assert.deepEqual(Object.keys(cases).sort(), Object.keys(blockLayout).sort());
});

for (const [name, { bytes, floats }] of Object.entries(cases)) {
  const type = name as TensorType;
  const expected = Buffer.from(floats, 'base64');
  const count = expected.length / 4;

  test(`${type} gives the bits that the gguf package gives`, () => {
    const packed = Buffer.from(bytes, 'base64');
    assert.equal(packed.length, tensorBytes(type, count));
    assert.deepEqual(bitsOf(dequantize(type, packed, count)), bitsOf(new Float32Array(copyOf(expected))));
  });

  test(`${type} may lie at any address`, () => {
    const packed = Buffer.from(bytes, 'base64');
    const shifted = Buffer.concat([Buffer.alloc(1), packed]).subarray(1);
    assert.deepEqual(dequantize(type, shifted, count), dequantize(type, packed, count));
  });
}

test('bytes that do not fit the count are refused', () => {
  assert.throws(() => dequantize('Q4_0', new Uint8Array(17), 32), /17 bytes do not hold 32 Q4_0/);
  assert.throws(() => tensorBytes('Q4_K', 32), /not whole blocks/);
});

test('a count of elements is exact or null', () => {
  assert.equal(elementCount([]), 1);
  assert.equal(elementCount([3, 5]), 15);
  for (const shape of [[0], [-1, -1], [1.5], [2 ** 30, 2 ** 30], [Number.NaN]]) assert.equal(elementCount(shape), null);
});

/** Compares bits, by which -0 and 0 differ. */
const bitsOf = (floats: Float32Array) => Array.from(new Uint32Array(floats.buffer));

const copyOf = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer;
