// Decode steps that take other rows along: the rows that run get the tokens of a step of their own, and the rows beside
// them keep what they hold.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { prng } from '../../../src/core/prng.ts';
import { createDecoder, type Decoder } from '../../../src/engine/runner/decoder.ts';
import { evenRows } from '../../../src/engine/runner/even-steps.ts';
import { type BatchPart, evenBatch } from '../../../src/engine/runner/forward-batch.ts';
import type { TopLogits } from '../../../src/engine/sampling/draw-top.ts';
import { createOnnxRuntime } from '../../../src/runtime/onnx-runtime.ts';
import { asDevice } from '../../helpers/test-runtime.ts';
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

const forms = [
  { told: 'rows of a pool', inBlocks: false },
  { told: 'blocks', inBlocks: true },
];

for (const { told, inBlocks } of forms)
  test(`rows join, run in any order and end: tokens as in steps of their own, over ${told}`, async () => {
    const model = await tinyLowered('llama-gguf', 32);
    const decoderOf = (records: boolean): Decoder => {
      const runtime = createOnnxRuntime({ library: null, threads: 1, spin: false });
      return createDecoder(asDevice(runtime, { records, inBlocks }), model, { rows, positions, pages: 4 });
    };
    const alone = decoderOf(false);
    // ONNX Runtime does not register the operators' domain for the first sessions of two runtimes at once.
    await alone.prepare(null);
    const decoders = [alone, decoderOf(true)] as const;
    const random = prng(5);
    const below = (count: number) => Math.floor(random() * count);
    /** Tokens that each row holds; 0 for a row that no sequence has. */
    const held = new Array<number>(rows).fill(0);
    let steps = 0;
    for (let turn = 0; turn < 60; turn++) {
      const free = held.indexOf(0);
      if (free >= 0 && below(2) === 0) {
        held[free] = 2 + below(6);
        const tokens = Array.from({ length: held[free]! }, () => below(200));
        const sampled = [held[free]! - 1];
        const found: Float32Array[] = [];
        for (const decoder of decoders) {
          const prompt = evenBatch({ kind: 'prompt', first: free, pasts: [0], tokens, sampled });
          found.push((await decoder.forward(prompt)).slice());
        }
        assertNear(found[0]!, found[1]!);
      }
      // Some of the rows that could run: the others are beside them, or elsewhere.
      const running = [...held.keys()].filter((row) => held[row]! > 0 && below(4) > 0);
      if (running.length === 0) continue;
      const parts = running.map((row): BatchPart => {
        const past = held[row]!;
        const tokens = new Array<number>(past);
        tokens.push(below(200));
        return { row, past, to: past + 1, tokens, kind: 'answer', sampled: [past], adapter: null };
      });
      const found: number[][] = [];
      for (const decoder of decoders) {
        const { rows: top, whole } = await decoder.logitsOf(
          { parts },
          parts.map(() => 0.5),
        );
        assert.equal(top.length, running.length);
        const [last] = await whole([running.length - 1]);
        found.push([...(top as TopLogits[]).flatMap(({ logits, mass }) => [...Array.from(logits), mass]), ...last!]);
      }
      assertNear(found[0]!, found[1]!);
      steps++;
      for (const row of running) held[row]!++;
      for (const [row, length] of held.entries()) {
        if (length === 0 || (length < positions && below(10) > 0)) continue;
        held[row] = 0;
        for (const { kv } of decoders) kv.clear(row);
      }
    }
    assert.ok(steps > 30);
    for (const decoder of decoders) await decoder.release();
  });

/** Products on the processor are cut by the number of rows, so the last bits may differ. */
function assertNear(found: ArrayLike<number>, expected: ArrayLike<number>): void {
  assert.equal(found.length, expected.length);
  for (let i = 0; i < found.length; i++) {
    const [a, b] = [found[i]!, expected[i]!];
    assert.ok(Math.abs(a - b) <= 1e-3 * (1 + Math.abs(b)), `${i}: ${a}, ${b}`);
  }
}
