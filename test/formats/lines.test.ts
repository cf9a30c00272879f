import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { limits } from '../../src/core/limits.ts';
import { splitLines } from '../../src/formats/lines.ts';

async function* pieces(bytes: Uint8Array, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const lines = async (text: string | Uint8Array, size = 4096) =>
  (await Array.fromAsync(splitLines(pieces(Buffer.from(text), size)))).map(({ text }) => text);

test('only newlines end lines, and the last one needs none', async () => {
  assert.deepEqual(await lines('a\r\n\u2028b\rc\n\nd'), ['a', '\u2028b\rc', '', 'd']);
  assert.deepEqual(await lines('a\n'), ['a']);
  assert.deepEqual(await lines(''), []);
});

test('a byte order mark begins a file, and no other line', async () => {
  assert.deepEqual(await lines('\ufeffa\n\ufeffb'), ['a', '\ufeffb']);
});

test('pieces may end anywhere', async () => {
  const text = fc.array(fc.constantFrom('a', 'ü', '😀', '\n', '\u2028')).map((chars) => chars.join(''));
  await fc.assert(
    fc.asyncProperty(text, fc.integer({ min: 1, max: 9 }), async (text, size) => {
      const expected = text.split('\n');
      if (expected.at(-1) === '') expected.pop();
      assert.deepEqual(await lines(text, size), expected);
    }),
  );
});

test('lines are numbered, and one that is not UTF-8 is named', async () => {
  const found = await Array.fromAsync(splitLines(pieces(Buffer.from('a\nb'), 1)));
  assert.deepEqual(found, [
    { number: 1, text: 'a' },
    { number: 2, text: 'b' },
  ]);
  const bytes = Uint8Array.of(0x61, 0x0a, 0xff, 0x0a);
  await assert.rejects(lines(bytes), { code: 'file_invalid', message: 'Line 2 is not UTF-8.' });
});

test('a file without newlines is not collected whole', async () => {
  let given = 0;
  async function* endless() {
    for (; ; given += 2 ** 20) yield new Uint8Array(2 ** 20);
  }
  await assert.rejects(Array.fromAsync(splitLines(endless())), { code: 'file_invalid', message: /Line 1 is too long/ });
  assert.ok(given <= 4 * limits.trainingRowChars + 2 ** 21);
});
