import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { limits } from '../../src/core/limits.ts';
import { parseSafetensorsHeader, type SafetensorsType, safetensorsBits } from '../../src/formats/safetensors.ts';
import { type TensorToWrite, writeSafetensors } from '../../src/formats/write-safetensors.ts';
import { accepts, assertRefuses } from './refusal.ts';

type Reference = {
  written: {
    name: string;
    tensors: { name: string; dtype: string; shape: number[]; bytes: string }[];
    metadata: Record<string, string> | null;
    bytes: string;
  }[];
  cases: { name: string; bytes: string; refused: string | null; tensors?: [string, string, number[], string][] }[];
};
const fixture = new URL('../fixtures/safetensors-cases.json', import.meta.url);
const reference: Reference = JSON.parse(readFileSync(fixture, 'utf8'));

/**
 * Files that are refused here and accepted by the reference reader: two readers could see two different things in them.
 */
const stricter = new Map([
  ['leading space', /does not begin with "{"/],
  ['duplicate name', /"a" occurs twice/],
  ['duplicate name, one escaped', /"a" occurs twice/],
  ['duplicate metadata key', /"k" occurs twice/],
  ['metadata null', /__metadata__ is not an object/],
  ['unknown field', /unknown field "extra"/],
  ['tensor is a list', /is not an object/],
]);

test('the reference reader sees the same tensors and refuses the same files; stricter where listed', () => {
  for (const { name, bytes, refused, tensors } of reference.cases) {
    const file = Buffer.from(bytes, 'base64');
    const parse = () => parseSafetensorsHeader(file, file.length);
    const reason = stricter.get(name);
    if (reason !== undefined) assertRefuses(parse, reason);
    else assert.equal(accepts(parse), refused === null, `${name}: the reference says ${refused ?? 'nothing'}`);
    if (refused !== null || reason !== undefined) continue;
    const seen = parse()!.tensors.map((tensor) => [
      ...[tensor.name, tensor.type, tensor.shape],
      file.subarray(tensor.offset, tensor.offset + tensor.bytes).toString('hex'),
    ]);
    assert.deepEqual(
      new Map(seen.map(([name, ...rest]) => [name, rest])),
      new Map(tensors!.map(([n, ...rest]) => [n, rest])),
    );
  }
  const names = reference.cases.map(({ name }) => name);
  for (const name of stricter.keys()) assert.ok(names.includes(name), name);
});

const fromNumpy: Record<string, SafetensorsType> = {
  float64: 'F64',
  float32: 'F32',
  float16: 'F16',
  int64: 'I64',
  int8: 'I8',
  uint8: 'U8',
};

for (const { name, tensors, metadata, bytes } of reference.written) {
  test(`writes the bytes that the reference writes: ${name}`, () => {
    const parts = tensors.map((tensor) => ({
      ...tensor,
      type: fromNumpy[tensor.dtype]!,
      bytes: Buffer.from(tensor.bytes, 'base64'),
    }));
    const file = writeSafetensors(parts, metadata ?? {});
    assert.equal(Buffer.from(file).toString('latin1'), Buffer.from(bytes, 'base64').toString('latin1'));
  });
}

const tensorToWrite: fc.Arbitrary<TensorToWrite> = fc
  .record({
    name: fc.string({ unit: 'grapheme', maxLength: 20 }).filter((name) => name !== '__metadata__'),
    type: fc.constantFrom(...(Object.keys(safetensorsBits) as SafetensorsType[])),
    shape: fc.array(fc.nat(4), { maxLength: 3 }),
  })
  .map(({ type, shape, ...rest }) => {
    const whole = safetensorsBits[type] < 8 ? [8, ...shape] : shape;
    const bits = whole.reduce((product, dimension) => product * dimension, safetensorsBits[type]);
    return { ...rest, type, shape: whole, bytes: new Uint8Array(bits / 8).fill(bits) };
  });
const manyToWrite = fc.uniqueArray(tensorToWrite, { selector: ({ name }) => name, maxLength: 8 });

test('what was written is read back, whatever the order it came in', () => {
  fc.assert(
    fc.property(manyToWrite, fc.dictionary(fc.string(), fc.string()), (tensors, metadata) => {
      const file = writeSafetensors(tensors, metadata);
      assert.deepEqual(writeSafetensors(tensors.toReversed(), metadata), file);
      const read = parseSafetensorsHeader(file, file.length)!;
      assert.deepEqual(Object.fromEntries(read.metadata), { ...metadata });
      assert.equal(read.tensors.length, tensors.length);
      for (const { name, type, shape, offset, bytes } of read.tensors) {
        const written = tensors.find((tensor) => tensor.name === name)!;
        assert.deepEqual({ type, shape }, { type: written.type, shape: written.shape });
        assert.deepEqual(file.subarray(offset, offset + bytes), written.bytes);
      }
    }),
  );
});

test('the code is that of whoever brought the file', () => {
  assertRefuses(() => parseSafetensorsHeader(new Uint8Array(7), 7, 'adapter_invalid'), /shorter/, 'adapter_invalid');
});

test('asks for a longer prefix as long as the header is not complete', () => {
  const file = writeSafetensors([{ name: 'a', type: 'F32', shape: [4], bytes: new Uint8Array(16) }]);
  for (let length = 0; length < file.length; length++) {
    const parsed = parseSafetensorsHeader(file.subarray(0, length), file.length);
    assert.equal(parsed?.tensors.length ?? null, length < file.length - 16 ? null : 1);
  }
});

test('limits hold before anything is allocated', () => {
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(BigInt(limits.safetensorsHeaderBytes) + 1n);
  assertRefuses(() => parseSafetensorsHeader(head, 2 ** 40), /the limit is 8388608/);
  const empty = { type: 'U8' as const, shape: [0], bytes: new Uint8Array(0) };
  const many = Array.from({ length: limits.safetensorsTensors + 1 }, (_, index) => ({ ...empty, name: `t${index}` }));
  const file = writeSafetensors(many);
  assertRefuses(() => parseSafetensorsHeader(file, file.length), /20001 tensors; the limit is 20000/);
});

test('a header that is far more than it looks like is refused before it is made', () => {
  const fileOf = (text: string) => {
    const bytes = Buffer.alloc(8 + text.length);
    bytes.writeBigUInt64LE(BigInt(text.length));
    bytes.write(text, 8);
    return bytes;
  };
  const entries = (count: number, entry: string) =>
    Array.from({ length: count }, (_, i) => `"${i}":${entry}`).join(',');
  const refuse = (text: string, reason: RegExp) => {
    const file = fileOf(text);
    assertRefuses(() => parseSafetensorsHeader(file, file.length, 'adapter_invalid'), reason, 'adapter_invalid');
  };
  refuse(`{"__metadata__":{${entries(100_000, '""')}}}`, /has more than \d+ members/);
  refuse(`{"a":${'['.repeat(1e6)}${']'.repeat(1e6)}}`, /nested deeper than 4 levels/);
  refuse(`{${entries(8193, '{"dtype":"F32","shape":[0],"data_offsets":[0,0]}')}}`, /8193 tensors; the limit is 8192/);
});

test('any change of bytes is read or refused', () => {
  const file = writeSafetensors(
    [
      { name: 'a', type: 'F32', shape: [2, 3], bytes: new Uint8Array(24) },
      { name: 'b', type: 'F16', shape: [4], bytes: new Uint8Array(8) },
    ],
    { format: 'pt' },
  );
  const change = fc.record({
    at: fc.nat(file.length - 1),
    to: fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from('{}[]",:0189-e.\\ '))),
  });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), (changes) => {
      const changed = Uint8Array.from(file);
      for (const { at, to } of changes) changed[at] = to;
      accepts(() => {
        const { tensors } = parseSafetensorsHeader(changed, changed.length)!;
        // In an accepted file the tensors cover every byte after the header exactly once.
        let end = 8 + Number(new DataView(changed.buffer).getBigUint64(0, true));
        for (const { offset, bytes } of tensors) {
          assert.equal(offset, end);
          end += bytes;
        }
        assert.equal(end, changed.length);
      });
    }),
    { numRuns: 3000 },
  );
});

test('a programmer who writes nonsense is told so', () => {
  const good: TensorToWrite = { name: 'a', type: 'F32', shape: [2], bytes: new Uint8Array(8) };
  assert.throws(() => writeSafetensors([good, good]), /the tensor name a is taken/);
  assert.throws(() => writeSafetensors([{ ...good, name: '__metadata__' }]), /is taken/);
  assert.throws(() => writeSafetensors([{ ...good, shape: [3] }]), /does not take 8 bytes/);
});
