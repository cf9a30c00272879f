import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { microBatch } from '../../src/training/micro-batch.ts';
import { packRows } from '../../src/training/packing.ts';
import type { TokenRow } from '../../src/training/token-row.ts';

const lengths = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 60 });
const tokensMax = fc.integer({ min: 1, max: 2000 });

test('every row is packed once, and no rectangle is larger than it may be', () => {
  fc.assert(
    fc.property(lengths, tokensMax, (lengths, tokensMax) => {
      const packed = packRows(lengths, tokensMax);
      const rows = packed.flatMap(({ lines }) => lines.flat());
      assert.deepEqual(
        rows.toSorted((a, b) => a - b),
        [...lengths.keys()],
      );
      for (const { length, lines } of packed) {
        const used = lines.map((line) => line.reduce((sum, row) => sum + lengths[row]!, 0));
        assert.ok(lines.every((line) => line.length > 0));
        assert.ok(Math.max(...used) === length, 'a line is as long as its longest content');
        assert.ok(length * lines.length <= tokensMax || lines.length === 1);
        assert.ok(length <= Math.max(...lengths));
      }
    }),
  );
});

test('the same lengths are packed the same way', () => {
  fc.assert(
    fc.property(lengths, tokensMax, (lengths, tokensMax) => {
      assert.deepEqual(packRows([...lengths], tokensMax), packRows(lengths, tokensMax));
    }),
  );
});

test('short rows share a line', () => {
  assert.deepEqual(packRows([3, 10, 4, 3], 100), [{ length: 10, lines: [[1], [2, 0, 3]] }]);
});

test('a micro-batch holds every token at its place and every target before its label', () => {
  const row = fc
    .array(fc.tuple(fc.integer({ min: 0, max: 999 }), fc.integer({ min: 0, max: 1 })), { minLength: 2, maxLength: 20 })
    .map((tokens): TokenRow => {
      const counted = Uint8Array.from(tokens, ([, mark]) => mark);
      counted[0] = 0;
      return { tokens: Int32Array.from(tokens, ([token]) => token), counted };
    });
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 12 }), fc.integer({ min: 20, max: 80 }), (rows, tokensMax) => {
      const packed = packRows(
        rows.map(({ tokens }) => tokens.length),
        tokensMax,
      );
      const seen: number[][] = [];
      for (const rectangle of packed) {
        const { lines, length, tokens, positions, segments, sampled, labels } = microBatch(rectangle, rows);
        assert.equal(tokens.length, lines * length);
        for (const [line, inLine] of rectangle.lines.entries()) {
          for (const [segment, index] of inLine.entries()) {
            const places = [...tokens.keys()].filter(
              (place) => Math.floor(place / length) === line && segments[place] === BigInt(segment),
            );
            const expected = rows[index]!;
            assert.deepEqual(
              places.map((place) => Number(tokens[place])),
              [...expected.tokens],
            );
            assert.deepEqual(
              places.map((place) => Number(positions[place])),
              [...places.keys()],
            );
            const targets = [...expected.counted.keys()].filter((i) => expected.counted[i] === 1);
            seen.push(targets.map((i) => expected.tokens[i]!));
            for (const i of targets) {
              const at = sampled.indexOf(BigInt(places[i - 1]!));
              assert.notEqual(at, -1);
              assert.equal(Number(labels[at]), expected.tokens[i]);
            }
          }
        }
        const used = rectangle.lines.flat().reduce((sum, index) => sum + rows[index]!.tokens.length, 0);
        assert.equal(segments.filter((segment) => segment === -1n).length, lines * length - used);
        const targets = rectangle.lines.flat().flatMap((index) => [...rows[index]!.counted]);
        assert.equal(sampled.length, targets.filter((mark) => mark === 1).length);
      }
      assert.equal(seen.length, rows.length);
    }),
  );
});
