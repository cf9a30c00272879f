// Storms with adapters that are merged and unmerged all the while: every sequence gets the tokens of its own adapter on
// the weights that it began with, and in the end no row, page, hold, group or byte is left.

import assert from 'node:assert/strict';
import test from 'node:test';
import { prng } from '../../../src/core/prng.ts';
import { failureOfMarked, marked, markedStore, signatureOf } from '../adapters/marked-adapters.ts';
import { type HashDecoder, hashDecoder, tokensAlone } from '../hash-decoder.ts';
import { storm, type Weights } from '../storm.ts';
import { markedArithmetic, markedMergeBytes, mergedMark } from './marked-merges.ts';

const vocabulary = 997;
const isBroken = (mark: number) => mark % 13 === 0;

function randomWeights(below: (limit: number) => number): Weights[] {
  const one = () => marked(1 + below(30), [1, 1, 1, 0.5, 2, -1][below(6)]);
  const several = () => Array.from({ length: 2 + below(2) }, one);
  const popular: Weights[] = [[], [one()], [one()], [one()], [one()], several(), [marked(13)], [marked(9)]];
  return [...popular, ...Array.from({ length: 30 }, (_, i) => [marked(i + 1)])];
}

for (const { seed, sequences, rows, slots, onMerges, merges } of [
  { seed: 1, sequences: 600, rows: 1, slots: 6, onMerges: 'always', merges: 2 },
  { seed: 2, sequences: 600, rows: 4, slots: 8, onMerges: 'always', merges: 8 },
  { seed: 3, sequences: 600, rows: 8, slots: 12, onMerges: 'auto', merges: 3 },
  { seed: 4, sequences: 2000, rows: 16, slots: 13, onMerges: 'always', merges: 8 },
  { seed: 5, sequences: 600, rows: 12, slots: 13, onMerges: 'auto', merges: 8 },
] as const) {
  test(`a storm with merges, seed ${seed}: ${rows} rows, ${onMerges}`, async (context) => {
    const random = prng(seed);
    const below = (limit: number) => Math.floor(random() * limit);
    const positions = 40;
    const bytesMax = 30_000;
    const prompts = Array.from({ length: 60 }, () => Array.from({ length: 1 + below(positions) }, () => below(997)));
    const known = new Map<string, readonly number[]>();
    const start = performance.now();
    let decoder: HashDecoder | undefined;
    const report = await storm({
      decoderOf: (wake) => {
        decoder = hashDecoder(rows, positions, vocabulary, slots, wake, 32 * (2 + rows));
        return decoder;
      },
      ...{ seed, sequences, prompts, weights: randomWeights(below) },
      storeOf: (clock, onChange, below) =>
        markedStore({ clock, onChange, bytesMax, turns: () => below(12), broken: isBroken }),
      alone(prompt, weights, isMerged) {
        const signature = signatureOf(weights) + (isMerged ? mergedMark : 0);
        const key = `${prompts.indexOf(prompt as number[])} ${signature}`;
        const tokens = known.get(key) ?? tokensAlone(prompt, vocabulary, positions, signature);
        known.set(key, tokens);
        return tokens;
      },
      failing: (weights) => failureOfMarked(weights, { isBroken, slots, bytesMax }),
      merges: {
        arithmetic: markedArithmetic({ pieces: () => 1 + below(6), broken: (key) => key === 'sha256:7' }),
        bytesMax: merges * markedMergeBytes,
        ...{ onMerges, probes: [[1, 2, 3, 4, 5], [6]], bits: [null, 8] },
      },
    });
    const ms = Math.round(performance.now() - start);
    context.diagnostic(`seed ${seed}: ${JSON.stringify(report)}, ${ms} ms`);
    assert.ok(report.length > 50 && report.abort > 10 && report.error > 5, 'too few sequences ended in each way');
    assert.ok(report.merged > 10 && report.onMerges > 20, 'hardly anything was merged');
    assert.equal(decoder!.merged, 0);
  });
}
