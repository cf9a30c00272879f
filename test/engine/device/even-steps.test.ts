// Steps that take rows along which are not theirs: tokens of the rows that run are those of a step of their own, and
// what rows beside them hold, prompts half read and rows that are parked, is what it was.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { prng } from '../../../src/core/prng.ts';
import { createDecoder, type Decoder } from '../../../src/engine/decoder.ts';
import { evenRows, inEvenSteps } from '../../../src/engine/device/even-steps.ts';
import { RowLengths } from '../../../src/engine/device/row-lengths.ts';
import { asDevice, testRuntime } from '../../helpers/test-runtime.ts';
import { tinyLowered } from '../../helpers/tiny-lowered.ts';

const rows = 12;
const positions = 24;

test('sizes are few, large enough, and less than twice as large', () => {
  const sizes = Array.from({ length: 256 }, (_, i) => evenRows(i + 1));
  for (const [i, size] of sizes.entries()) {
    assert.ok(size > i && size <= (i < 16 ? 2 : 1.5) * (i + 1), `${i + 1}`);
  }
  assert.ok(new Set(sizes).size <= 18);
  fc.assert(fc.property(fc.integer({ min: 1, max: 500 }), (count) => evenRows(evenRows(count)) === evenRows(count)));
});

test('a step takes rows along where their next token will be, and leaves them as long as they are', async () => {
  const lengths = new RowLengths(7, 10);
  for (const [row, length] of [2, 4, 3, 6, 10, 1, 0].entries()) lengths.set(row, length);
  const seen: (readonly number[])[] = [];
  const forwardTop = inEvenSteps(async ({ first, pasts, tokens, sampled, adapters = [] }, temperatures) => {
    for (const one of [tokens, sampled, adapters, temperatures]) assert.equal(one.length, pasts.length);
    for (const [i, past] of pasts.entries()) lengths.set(first + i, past + 1);
    seen.push(pasts);
    const rows = pasts.map((past) => ({ tokens: [past], logits: [0], mass: 1, sharpMass: 1, vocabulary: 1 }));
    return { rows, whole: async () => [] };
  }, lengths);
  const step = async (first: number, pasts: readonly number[]) => {
    const each = pasts.map((_, i) => i);
    const batch = {
      phase: 'decode' as const,
      first,
      pasts,
      tokens: each,
      sampled: each,
      adapters: each.map(() => null),
    };
    const { rows } = await forwardTop(batch, each);
    assert.deepEqual(
      rows.map(({ tokens }) => tokens[0]),
      pasts,
    );
    return seen.at(-1);
  };
  assert.deepEqual(await step(0, [2, 4, 3]), [2, 4, 3, 6]);
  // A full row has no next place, and there are no more rows than these.
  assert.deepEqual(await step(0, [3, 5, 4, 6, 9]), [3, 5, 4, 6, 9, 1, 0]);
  assert.deepEqual(await step(2, [5, 7, 9]), [5, 7, 9, 1]);
  assert.deepEqual(await step(-1, [3]), [3]);
  assert.deepEqual(
    Array.from({ length: 7 }, (_, row) => lengths.next(row)),
    [4, 6, 6, 8, 9, 1, 0],
  );
});

test('rows join, are read in pieces, end, move and are parked: tokens as in steps of their own', async () => {
  const model = await tinyLowered('llama-gguf', 32);
  const decoders = [false, true].map((records) =>
    createDecoder(asDevice(testRuntime({ device: { kind: 'cpu' } }), false, records), model, {
      rows,
      positions,
      pages: 4,
    }),
  ) as [Decoder, Decoder];
  const random = prng(5);
  const below = (count: number) => Math.floor(random() * count);
  /** By row: tokens it holds, and those of its prompt that are left. */
  const running: { past: number; left: number }[] = [];
  const parked: { row: number; past: number }[] = [];
  let steps = 0;
  const both = async (batch: Parameters<Decoder['forward']>[0]) => {
    const found: Float32Array[] = [];
    for (const decoder of decoders) found.push((await decoder.forward(batch)).slice());
    assertNear(found[0]!, found[1]!);
  };
  for (let turn = 0; turn < 60; turn++) {
    // Those that decode lie first; prompts behind them.
    if (running.length < 9 && below(2) === 0) running.push({ past: 0, left: 2 + below(6) });
    const decoding = running.filter(({ left }) => left === 0).length;
    const prompt = running[decoding];
    if (prompt) {
      // The last token of a prompt comes with the one before it.
      const count = prompt.left <= 3 ? prompt.left : 2;
      const tokens = Array.from({ length: count }, () => below(200));
      await both({ phase: 'prefill', first: decoding, pasts: [prompt.past], tokens, sampled: [count - 1] });
      prompt.past += count;
      prompt.left -= count;
    }
    if (decoding > 0) {
      const pasts = running.slice(0, decoding).map(({ past }) => past);
      const batch = {
        ...{ phase: 'decode' as const, first: 0, pasts, tokens: pasts.map(() => below(200)) },
        sampled: pasts.map((_, i) => i),
      };
      const found: number[][] = [];
      for (const decoder of decoders) {
        const { rows: top, whole } = await decoder.forwardTop!(
          batch,
          pasts.map(() => 0.5),
        );
        assert.equal(top.length, decoding);
        const [last] = await whole([decoding - 1]);
        found.push([...top.flatMap(({ logits, mass }) => [...Array.from(logits), mass]), ...last!]);
      }
      assertNear(found[0]!, found[1]!);
      steps++;
      for (const row of running.slice(0, decoding)) row.past++;
    }
    // One that is full, or one by chance, ends or is parked: the last of them takes its row, prompts slide down.
    const full = running.findIndex(({ past, left }) => left === 0 && past >= positions - 1);
    const inSteps = running.filter(({ left }) => left === 0).length;
    const gone = full >= 0 ? full : below(4) === 0 && inSteps > 0 ? below(inSteps) : -1;
    if (gone >= 0) {
      const move = (from: number, to: number) => {
        for (const { kv } of decoders) kv.move(from, to, positions);
        running[to] = running[from]!;
      };
      const spare = [9, 10, 11].find((row) => !parked.some((one) => one.row === row));
      if (full < 0 && spare !== undefined) {
        for (const { kv } of decoders) kv.move(gone, spare, positions);
        parked.push({ row: spare, past: running[gone]!.past });
      }
      if (gone !== inSteps - 1) move(inSteps - 1, gone);
      for (let row = inSteps; row < running.length; row++) move(row, row - 1);
      running.pop();
    }
    // What is parked goes on, before all prompts.
    if (parked.length > 0 && running.length < 9 && below(3) === 0) {
      const { row, past } = parked.shift()!;
      const at = running.filter(({ left }) => left === 0).length;
      for (const { kv } of decoders) {
        for (let to = running.length; to > at; to--) kv.move(to - 1, to, positions);
        kv.move(row, at, positions);
      }
      running.splice(at, 0, { past, left: 0 });
    }
  }
  assert.ok(steps > 30);
  for (const decoder of decoders) await decoder.release();
});

/** The processor's products are cut by the number of rows. */
function assertNear(found: ArrayLike<number>, expected: ArrayLike<number>): void {
  assert.equal(found.length, expected.length);
  for (let i = 0; i < found.length; i++) {
    const [a, b] = [found[i]!, expected[i]!];
    assert.ok(Math.abs(a - b) <= 1e-3 * (1 + Math.abs(b)), `${i}: ${a}, ${b}`);
  }
}
