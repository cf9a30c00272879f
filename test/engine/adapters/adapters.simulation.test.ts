// Storms with adapters: many more than there is room for, some of them damaged or too large, several at once, while
// pages and memory are short. Every sequence gets its own adapter's tokens, and in the end nobody holds anything.

import assert from 'node:assert/strict';
import test from 'node:test';
import { prng } from '../../../src/core/prng.ts';
import type { AdapterStore } from '../../../src/engine/adapters/adapter-store.ts';
import { hashDecoder, tokensAlone } from '../hash-decoder.ts';
import { storm, type Weights } from '../storm.ts';
import { marked, markedPages, markedResident, markedStore, markOf, signatureOf } from './marked-adapters.ts';

const vocabulary = 997;
const adapters = 50;
const isBroken = (mark: number) => mark % 13 === 0;
const bytesOf = (weights: Weights) => weights.reduce((sum, adapter) => sum + markedResident(markOf(adapter)).bytes, 0);

function randomWeights(below: (limit: number) => number): Weights[] {
  const one = () => marked(1 + below(adapters), [1, 1, 1, 0.5, 2, 0, -1][below(7)]);
  const several = () => Array.from({ length: 2 + below(3) }, one);
  const all = Array.from({ length: adapters }, (_, i) => [marked(i + 1)]);
  // The base and a few adapters first: they are the popular ones.
  return [[], [one()], [one()], [one()], [one()], several(), ...all, ...Array.from({ length: 40 }, several)];
}

for (const { seed, sequences, rows, positions, slots, bytesMax } of [
  { seed: 1, sequences: 500, rows: 1, positions: 32, slots: 4, bytesMax: 20_000 },
  { seed: 2, sequences: 500, rows: 4, positions: 48, slots: 6, bytesMax: 20_000 },
  { seed: 3, sequences: 500, rows: 8, positions: 40, slots: 10, bytesMax: 40_000 },
  { seed: 4, sequences: 2000, rows: 16, positions: 40, slots: 13, bytesMax: 30_000 },
  { seed: 5, sequences: 500, rows: 6, positions: 40, slots: 64, bytesMax: 1_000_000 },
]) {
  test(`a storm with adapters, seed ${seed}: ${rows} rows, ${slots} pages, ${bytesMax} bytes`, async (context) => {
    const random = prng(seed);
    const below = (limit: number) => Math.floor(random() * limit);
    const prompts = Array.from({ length: 60 }, () => Array.from({ length: 1 + below(positions) }, () => below(997)));
    const weights = randomWeights(below);
    const known = new Map<string, readonly number[]>();
    const start = performance.now();
    let store: AdapterStore | undefined;
    const report = await storm({
      decoderOf: (wake) => hashDecoder(rows, positions, vocabulary, slots, wake),
      seed,
      sequences,
      prompts,
      weights,
      storeOf: (clock, onChange, below) => {
        const turns = () => below(12);
        store = markedStore({ clock, onChange, bytesMax, turns, broken: isBroken });
        return store;
      },
      alone(prompt, weights) {
        const key = `${prompts.indexOf(prompt as number[])} ${signatureOf(weights)}`;
        const tokens = known.get(key) ?? tokensAlone(prompt, vocabulary, positions, signatureOf(weights));
        known.set(key, tokens);
        return tokens;
      },
      failing(weights) {
        if (weights.some((adapter) => isBroken(markOf(adapter)))) return 'adapter_corrupt';
        const isTooLarge = markedPages(weights) > slots || bytesOf(weights) > bytesMax;
        return weights.length > 0 && isTooLarge ? 'adapter_too_large' : null;
      },
    });
    const ms = Math.round(performance.now() - start);
    context.diagnostic(`seed ${seed}: ${JSON.stringify(report)}, ${ms} ms`);
    assert.ok(report.stop > 20 && report.length > 50 && report.abort > 10 && report.error > 10, 'a storm in a teacup');
    assert.ok(report.copies > 20 && (report.evictions > 20 || seed === 5));
    assert.ok(store!.residentBytes <= bytesMax);
  });
}
