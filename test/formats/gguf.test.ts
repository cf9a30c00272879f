import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseGguf } from '../../src/formats/gguf.ts';
import { array, buildGguf, f32, type GgufParts, text, u32 } from './gguf-builder.ts';
import { accepts, assertRefuses } from './refusal.ts';

const weights = { name: 'w', shape: [32, 2], type: 3, offset: 0 };
const sample: GgufParts = {
  entries: [
    text('general.architecture', 'llama'),
    u32('llama.block_count', 2),
    f32('llama.rope.freq_base', 10_000),
    array('tokenizer.ggml.tokens', 8, ['a', 'ü', '']),
    array('tokenizer.ggml.token_type', 5, [1, 2, 3]),
  ],
  tensors: [weights, { name: 'v', shape: [5], type: 0, offset: 64 }],
  dataBytes: 64 + 20,
};

const parse = (parts: GgufParts) => {
  const file = buildGguf(parts);
  return parseGguf(file, file.length);
};

test('reads metadata and places tensors', () => {
  const file = buildGguf(sample);
  const parsed = parseGguf(file, file.length)!;
  assert.equal(parsed.version, 3);
  assert.equal(parsed.metadata.get('general.architecture'), 'llama');
  assert.equal(parsed.metadata.get('llama.block_count'), 2);
  assert.deepEqual(parsed.metadata.get('tokenizer.ggml.tokens'), ['a', 'ü', '']);
  assert.deepEqual(parsed.metadata.get('tokenizer.ggml.token_type'), [1, 2, 3]);
  const dataStart = file.length - 84;
  assert.deepEqual(parsed.tensors, [
    { name: 'w', type: 'Q4_1', shape: [2, 32], offset: dataStart, bytes: 40 },
    { name: 'v', type: 'F32', shape: [5], offset: dataStart + 64, bytes: 20 },
  ]);
});

test('reads every scalar type, and 64-bit integers exactly', () => {
  const scalars: [type: number, value: unknown, read: unknown][] = [
    [0, 255, 255],
    [1, 255, -1],
    [2, 65_535, 65_535],
    [3, 65_535, -1],
    [4, 4_294_967_295, 4_294_967_295],
    [5, 4_294_967_295, -1],
    [6, 0.5, 0.5],
    [7, 1, true],
    [10, 2n ** 53n - 1n, 2 ** 53 - 1],
    [10, 2n ** 64n - 1n, 2n ** 64n - 1n],
    [11, -1n, -1],
    [12, 0.1, 0.1],
  ];
  const entries = scalars.map(([type, value], index) => ({ key: `k${index}`, type, value }));
  const { metadata } = parse({ entries, version: 2 })!;
  scalars.forEach(([, , read], index) => void assert.equal(metadata.get(`k${index}`), read));
});

test('asks for a longer prefix exactly as long as the header is not complete', () => {
  const file = buildGguf(sample);
  const headerBytes = file.length - 84;
  for (let length = 0; length < file.length; length++) {
    const parsed = parseGguf(file.subarray(0, length), file.length);
    // The header is complete without the padding behind the last tensor's entry.
    if (length < headerBytes - 31) assert.equal(parsed, null);
    if (length >= headerBytes) assert.equal(parsed?.tensors.length, 2);
  }
});

test('a file cut anywhere is refused', () => {
  const file = buildGguf(sample);
  for (let length = 0; length < file.length; length++) {
    assertRefuses(() => parseGguf(file.subarray(0, length), length), /^Invalid GGUF file: /);
  }
});

const refused: [name: string, parts: GgufParts, reason: RegExp][] = [
  ['another magic', { magic: 'GGML' }, /does not begin with "GGUF"/],
  ['version 1', { version: 1 }, /version 1/],
  ['big endian', { version: 0x03000000 }, /version 50331648/],
  ['a tensor count beyond the limit', { tensorCount: 20_001n }, /20001 tensors/],
  ['a tensor count beyond exact integers', { tensorCount: 2n ** 63n }, /too large/],
  ['more tensors than the file holds', { tensorCount: 5n }, /past byte/],
  ['an entry count beyond the limit', { entryCount: 5000n }, /5000 metadata entries/],
  ['a key twice', { entries: [u32('a', 1), u32('a', 2)] }, /"a" occurs twice/],
  ['an unknown value type', { entries: [{ key: 'a', type: 13, value: 0 }] }, /unknown type 13/],
  ['an array longer than the file', { entries: [array('a', 0, [1], 1000n)] }, /past byte/],
  ['an array longer than the limit', { entries: [array('a', 0, [], 2n ** 40n)] }, /4000000 items/],
  ['an array of a length that is not exact', { entries: [array('a', 8, [], 2n ** 64n - 1n)] }, /too large/],
  ['deep arrays', { entries: [array('a', 9, nested(4))] }, /nests arrays/],
  ['an alignment that is no power of two', { entries: [u32('general.alignment', 24)] }, /alignment/],
  ['an alignment of zero', { entries: [u32('general.alignment', 0)] }, /alignment/],
  ['an unknown tensor type', { tensors: [{ ...weights, type: 99 }] }, /unknown type 99/],
  ['five dimensions', { tensors: [{ ...weights, shape: [32, 1, 1, 1, 1] }] }, /5 dimensions/],
  ['no dimension', { tensors: [{ ...weights, shape: [] }] }, /0 dimensions/],
  ['a dimension of zero', { tensors: [{ ...weights, shape: [32, 0] }] }, /impossible shape/],
  ['a product beyond exact integers', { tensors: [{ ...weights, shape: [2 ** 40, 2 ** 40] }] }, /impossible shape/],
  ['half a block', { tensors: [{ ...weights, shape: [16, 4] }] }, /not whole Q4_1 blocks/],
  ['a tensor twice', { tensors: [weights, { ...weights, offset: 64 }], dataBytes: 128 }, /occurs twice/],
  ['a crooked offset', { tensors: [{ ...weights, offset: 8 }], dataBytes: 64 }, /not aligned/],
  ['a tensor past the end', { tensors: [weights], dataBytes: 39 }, /past the end/],
  ['an offset past the end', { tensors: [{ ...weights, offset: 2 ** 52 }], dataBytes: 64 }, /past the end/],
  ['an offset that wraps round', { tensors: [{ ...weights, offset: 2n ** 64n - 32n }], dataBytes: 64 }, /too large/],
  [
    'tensors that overlap',
    { tensors: [weights, { ...weights, name: 'x', offset: 32 }], dataBytes: 128 },
    /"w" and "x" overlap/,
  ],
];

for (const [name, parts, reason] of refused) test(`refuses ${name}`, () => assertRefuses(() => parse(parts), reason));

test('refuses a tensor type that it does not read by its name', () => {
  const parts = { tensors: [{ ...weights, shape: [256], type: 23 }], dataBytes: 1024 };
  assertRefuses(() => parse(parts), /"w" is of type IQ4_XS/, 'model_unsupported');
});

test('honours another alignment', () => {
  const entries = [u32('general.alignment', 8)];
  const parsed = parse({ entries, tensors: [weights, { ...weights, name: 'x', offset: 40 }], dataBytes: 80 })!;
  assert.equal(parsed.tensors[1]!.offset - parsed.tensors[0]!.offset, 40);
});

test('any change of bytes is read or refused, and never takes long', () => {
  const file = buildGguf(sample);
  const change = fc.record({ at: fc.nat(file.length - 1), to: fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 127, 255)) });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 12 }), fc.nat(file.length), (changes, length) => {
      const changed = Buffer.from(file);
      for (const { at, to } of changes) changed[at] = to;
      accepts(() => {
        for (const { offset, bytes } of parseGguf(changed, changed.length)?.tensors ?? []) {
          assert.ok(offset >= 0 && bytes >= 0 && offset + bytes <= changed.length);
        }
      });
      accepts(() => parseGguf(changed.subarray(0, length), changed.length));
    }),
    { numRuns: 3000 },
  );
});

test('random bytes behind the magic are refused', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => {
      const file = Buffer.concat([Buffer.from('GGUF\x03\0\0\0'), noise]);
      accepts(() => parseGguf(file, file.length));
    }),
    { numRuns: 2000 },
  );
});

/** Nests `depth` arrays. */
function nested(depth: number): unknown[] {
  return depth === 1 ? [] : [{ type: 9, items: nested(depth - 1), count: depth === 2 ? 0n : 1n }];
}
