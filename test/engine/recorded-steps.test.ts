// Steps that a card replays give the same as steps that are started anew: rows with and without adapters that change
// between steps, lengths that outgrow the recording, rows that come and go.

import assert from 'node:assert/strict';
import test from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { prng } from '../../src/core/prng.ts';
import { createBreath } from '../../src/engine/adapters/breath.ts';
import { readAdapter } from '../../src/engine/adapters/read-adapter.ts';
import type { RowAdapter } from '../../src/engine/adapters/row-adapter.ts';
import { createDecoder, type Decoder } from '../../src/engine/runner/decoder.ts';
import { evenBatch } from '../../src/engine/runner/forward-batch.ts';
import type { TopLogits } from '../../src/engine/sampling/draw-top.ts';
import { testRuntime } from '../helpers/test-runtime.ts';
import { tinyLowered } from '../helpers/tiny-lowered.ts';
import { layerModules, randomAdapter } from './adapters/random-adapters.ts';

const rows = 6;
const [recording, starting] = [
  testRuntime({ deviceKernels: 'recorded', runsBefore: 2 }),
  testRuntime({ deviceKernels: 'own' }),
];
const skip = recording.device?.hasOperators ? false : 'no card';

test('a recorded step is the step', { skip }, async () => {
  const model = await tinyLowered('llama-gguf', null);
  const breath = createBreath(systemClock);
  const decoders = [recording, starting].map((runtime) =>
    createDecoder(runtime, model, { rows, positions: 96, pages: 24 }),
  ) as [Decoder, Decoder];
  const adapters = await Promise.all(
    [1, 2, 3].map(async (seed) => {
      const { files } = randomAdapter(model.shape, { seed, modules: layerModules, r: 8 * seed });
      return readAdapter(files, { model, breath });
    }),
  );
  const placed = decoders.map(({ pages }) =>
    adapters.map((adapter): RowAdapter => ({ adapter, scale: 0.7, placement: pages.place(adapter)! })),
  );
  for (const row of placed.flat()) await row.placement.copied;
  const random = prng(4);
  const token = () => Math.floor(random() * decoders[0].vocabulary);
  const pasts = Array.from({ length: rows }, (_, row) => 2 + row);
  for (const [row, length] of pasts.entries()) {
    const tokens = Array.from({ length }, token);
    for (const decoder of decoders) {
      await decoder.forward(
        evenBatch({
          kind: 'prompt',
          first: row,
          pasts: [0],
          tokens,
          sampled: [length - 1],
          adapters: [null],
        }),
      );
    }
  }
  // The adapter of each row; 0 for none.
  const plans = [
    ...new Array(6).fill([0, 0, 0, 0, 0, 0]),
    ...new Array(8).fill([0, 1, 1, 2, 0, 1]),
    ...new Array(8).fill([2, 2, 0, 1, 1, 1]),
    ...new Array(8).fill([3, 2, 0]),
    ...new Array(30).fill([1, 1, 2, 2, 3, 0]),
  ] as number[][];
  for (const [step, plan] of plans.entries()) {
    const [tokens, sampled] = [plan.map(token), plan.map((_, row) => row)];
    const batch = { kind: 'answer' as const, first: 0, pasts: pasts.slice(0, plan.length), tokens, sampled };
    const found: number[][][] = [];
    for (const [side, decoder] of decoders.entries()) {
      const who = plan.map((which) => (which === 0 ? null : placed[side]![which - 1]!));
      const { rows: top } = await decoder.logitsOf(
        evenBatch({ ...batch, adapters: who }),
        plan.map(() => 0),
      );
      found.push((top as readonly TopLogits[]).map(({ logits }) => Array.from(logits)));
    }
    // Products may be cut differently while they are recorded, so half floats differ in their last bits.
    for (const [row, logits] of found[0]!.entries()) {
      for (const [i, logit] of logits.entries()) {
        const other = found[1]![row]![i]!;
        assert.ok(
          Math.abs(logit - other) <= 0.01 * Math.abs(logits[0]!),
          `step ${step}, row ${row}: ${logit}, ${other}`,
        );
      }
    }
    for (const row of plan.keys()) pasts[row]!++;
  }
  for (const decoder of decoders) await decoder.release();
});
