import assert from 'node:assert/strict';
import { test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { findZipDirectory, findZipMember, zipDataOffset, zipEndBytesMax } from '../../src/formats/zip.ts';
import { accepts, assertRefuses } from './refusal.ts';
import { buildZip } from './zip-builder.ts';

const content = Buffer.from('weights '.repeat(100));

function read(file: Buffer, name: string): Buffer | null {
  const { start, end, entries } = findZipDirectory(file.subarray(-zipEndBytesMax), file.length);
  const member = findZipMember(file.subarray(start, end), entries, name);
  if (member === null) return null;
  const from = zipDataOffset(file.subarray(member.offset, member.offset + 30), member);
  return file.subarray(from, from + member.packedBytes);
}

test('finds stored and deflated members among others', () => {
  const file = buildZip([
    { name: 'a/first.txt', content: Buffer.from('x') },
    { name: 'a/weights.gguf', content, deflated: true },
    { name: 'last', content },
  ]);
  assert.deepEqual(read(file, 'a/weights.gguf'), deflateRawSync(content));
  assert.deepEqual(read(file, 'last'), content);
  assert.equal(read(file, 'weights.gguf'), null);
});

test('a comment may follow, even one that looks like an end record', () => {
  const decoy = Buffer.alloc(22);
  decoy.writeUInt32LE(0x06054b50);
  const file = buildZip([{ name: 'a', content }], Buffer.concat([decoy, Buffer.from('and more')]));
  assert.deepEqual(read(file, 'a'), content);
});

test('refuses what it cannot read', () => {
  const file = buildZip([{ name: 'a', content }]);
  assertRefuses(() => read(file.subarray(0, -1), 'a'), /no end record/);
  assertRefuses(() => read(Buffer.alloc(0), 'a'), /no end record/);
  const directory = file.lastIndexOf(Buffer.from([0x50, 0x4b, 1, 2]));
  const changed = (at: number, value: number) => {
    const copy = Buffer.from(file);
    copy.writeUInt16LE(value, directory + at);
    return copy;
  };
  assertRefuses(() => read(changed(0, 0), 'a'), /directory is damaged/);
  assertRefuses(() => read(changed(8, 1), 'a'), /encrypted/);
  assertRefuses(() => read(changed(10, 14), 'a'), /method 14/);
  const zip64 = changed(20, 0xffff);
  zip64.writeUInt16LE(0xffff, directory + 22);
  assertRefuses(() => read(zip64, 'a'), /zip64/);
  assertRefuses(() => read(changed(42, 5), 'a'), /no header/);
});

test('any change of bytes is read or refused', () => {
  const file = buildZip([{ name: 'a', content }], Buffer.from('comment'));
  const change = fc.record({ at: fc.nat(file.length - 1), to: fc.nat(255) });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), (changes) => {
      const changed = Buffer.from(file);
      for (const { at, to } of changes) changed[at] = to;
      accepts(() => read(changed, 'a'));
    }),
    { numRuns: 2000 },
  );
});
