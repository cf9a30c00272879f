// The reader finds what the writer lays out, and copied metadata stays the same.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { encodeFloats } from '../../src/formats/encode-floats.ts';
import { parseGguf } from '../../src/formats/gguf.ts';
import { blockLayout, elementCount, tensorBytes } from '../../src/formats/tensor-bytes.ts';
import { type GgufTensorHead, ggufText, layOutGguf } from '../../src/formats/write-gguf.ts';
import { array, buildGguf, f32, text, u32 } from './gguf-builder.ts';

const types = Object.keys(blockLayout) as (keyof typeof blockLayout)[];
const head = fc
  .record({
    type: fc.constantFrom(...types),
    blocks: fc.nat({ max: 3 }),
    rows: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 3 }),
  })
  .map(({ type, blocks, rows }) => ({ type, shape: [...rows, (blocks + 1) * blockLayout[type].weights] }));
const heads = fc
  .array(head, { minLength: 1, maxLength: 8 })
  .map((list) => list.map((one, at): GgufTensorHead => ({ ...one, name: `blk.${at}.weight` })));

test('a file that is laid out is read back', () => {
  const texts = fc.dictionary(fc.string({ minLength: 1, unit: 'grapheme' }), fc.string({ unit: 'grapheme' }));
  fc.assert(
    fc.property(heads, texts, fc.constantFrom(8, 32, 4096), (tensors, values, alignment) => {
      const named = Object.entries(values).filter(([key]) => key !== 'general.alignment');
      const entries = named.map(([key, value]) => ggufText(key, value));
      const own = buildGguf({ entries: [u32('general.alignment', alignment)] });
      const span = parseGguf(own, own.length)!.entries.get('general.alignment')!;
      const layout = layOutGguf([...entries, own.subarray(span.start, span.end)], tensors, alignment);
      const parts = tensors.flatMap(({ type, shape }, at) => {
        const bytes = new Uint8Array(tensorBytes(type, elementCount(shape)!)).fill(at + 1);
        return [bytes, layout.padding(bytes.length)];
      });
      const file = Buffer.concat([layout.header, ...parts]);
      assert.equal(file.length, layout.fileBytes);
      const read = parseGguf(file, file.length)!;
      assert.deepEqual(Object.fromEntries(read.metadata), {
        ...Object.fromEntries(named),
        'general.alignment': alignment,
      });
      for (const [at, { offset, bytes, ...tensor }] of read.tensors.entries()) {
        assert.deepEqual(tensor, tensors[at]);
        assert.ok(file.subarray(offset, offset + bytes).every((byte) => byte === at + 1));
      }
    }),
  );
});

test('entries copied from a file keep their types and bytes', () => {
  const entries = [
    ...[text('general.name', 'n'), u32('a', 7), f32('b', 0.1), { key: 'c', type: 10, value: 2n ** 60n }],
    ...[array('d', 8, ['x', '', 'é']), array('e', 5, [-1, 2]), { key: 'f', type: 7, value: 1 }],
  ];
  const source = buildGguf({ entries });
  const parsed = parseGguf(source, source.length)!;
  const spans = [...parsed.entries.values()].map(({ start, end }) => source.subarray(start, end));
  const { header } = layOutGguf(spans, [], 32);
  assert.deepEqual(Buffer.from(header), source);
});

test('floats are rounded to the nearest, and never to an infinity', () => {
  const value = fc.double({ min: -6e4, max: 6e4, noNaN: true });
  const widths = { F16: 11, BF16: 8, F32: 24 } as const;
  fc.assert(
    fc.property(value, fc.constantFrom('F16', 'BF16', 'F32' as const), (number, type) => {
      const bytes = encodeFloats(type, Float64Array.of(number));
      const found = decode[type](bytes);
      // Half of the last kept place of a normal number; below those the places are fixed.
      const smallest = type === 'F16' ? 2 ** -14 : 2 ** -126;
      const half = 2 ** (Math.floor(Math.log2(Math.max(Math.abs(number), smallest))) - widths[type]);
      assert.ok(Math.abs(found - number) <= half, `${number} became ${found}`);
      assert.deepEqual(encodeFloats(type, Float64Array.of(found)), bytes, 'what is exact stays');
    }),
  );
  for (const [type, beyond] of [
    ['F16', 65_520],
    ['BF16', 3.4e38],
    ['F32', 3.5e38],
  ] as const) {
    for (const sign of [1, -1]) assert.throws(() => encodeFloats(type, Float64Array.of(sign * beyond)), RangeError);
  }
  assert.equal(decode.F16(encodeFloats('F16', Float64Array.of(65_519))), 65_504);
});

const decode = {
  F32: (bytes: Uint8Array) => new Float32Array(bytes.slice().buffer)[0]!,
  F16: (bytes: Uint8Array) => new Float16Array(bytes.slice().buffer)[0]!,
  BF16: (bytes: Uint8Array) => new Float32Array(Uint8Array.of(0, 0, ...bytes).buffer)[0]!,
};
