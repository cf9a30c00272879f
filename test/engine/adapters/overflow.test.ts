// An adapter of finite values whose products are not finite: its own sequence ends, and no other changes.

import assert from 'node:assert/strict';
import test from 'node:test';
import type { AppliedAdapter } from '../../../src/core/adapter.ts';
import { systemClock } from '../../../src/core/clock.ts';
import { AdapterStore } from '../../../src/engine/adapters/adapter-store.ts';
import { createBreath } from '../../../src/engine/adapters/breath.ts';
import { combineAdapters } from '../../../src/engine/adapters/combine-adapters.ts';
import { readAdapter } from '../../../src/engine/adapters/read-adapter.ts';
import { createDecoder } from '../../../src/engine/runner/decoder.ts';
import { testRuntime } from '../../helpers/test-runtime.ts';
import { tinyLowered } from '../../helpers/tiny-lowered.ts';
import { tokensOf, type Witness, witnessedEngine } from '../witnesses.ts';
import { layerModules, randomAdapter, randomPairs, writeAdapter } from './random-adapters.ts';

const runtime = testRuntime();
const breath = createBreath(systemClock);

/**
 * Random pairs with scaled A and B: some have products beyond float32, others usual products of very unlike factors.
 */
const crafted = [
  { name: 'whose products overflow', a: 1e25, b: 1e25, end: 'adapter_invalid' },
  { name: 'whose A overflows with many a token', a: 4e37, b: 1e-38, end: undefined },
  { name: 'whose B does', a: 1e-38, b: 4e37, end: undefined },
] as const;

for (const { name, a, b, end } of crafted) {
  test(`rows beside an adapter ${name} get what they get alone`, async () => {
    const model = await tinyLowered('llama', null);
    const options = { rows: 4, positions: 32, pages: 8, decodeActivations: 'int16' } as const;
    const decoder = createDecoder(runtime, model, options);
    const plan = { modules: layerModules, r: 8 } as const;
    const huge = randomPairs(model.shape, { ...plan, seed: 1 }).map(({ loraA, loraB, ...pair }) => {
      return { ...pair, loraA: loraA.map((value) => a * value), loraB: loraB.map((value) => b * value) };
    });
    const culprit = { files: writeAdapter({ ...plan, seed: 1 }, huge), scale: 1 };
    const good = [2, 3].map((seed) => ({ files: randomAdapter(model.shape, { ...plan, seed }).files, scale: 1 }));
    const generate = async (requests: readonly (readonly AppliedAdapter[])[]) => {
      const witnessed = witnessedEngine(
        decoder,
        64,
        (clock, onChange) =>
          new AdapterStore({
            ...{ bytesMax: 2 ** 30, clock, onChange },
            read: ({ files }) => readAdapter(files, { model, breath }),
            combine: (key, scaled) => combineAdapters(key, scaled, model.shape, breath),
          }),
      );
      const all = requests.map((adapters) => witnessed.add([1, 2, 3], { maxTokens: 8 }, adapters));
      await witnessed.drain();
      return all;
    };
    // Pages are placed in this order: the culprit's lie between the others'.
    const alone: Witness[] = [];
    for (const adapters of [[], [good[0]!], [culprit], [good[1]!]]) alone.push((await generate([adapters]))[0]!);
    const together = await generate([[], [good[0]!], [culprit], [good[1]!]]);
    for (const witnesses of [alone, together]) {
      assert.deepEqual(
        witnesses.map(({ end }) => end!.error?.code),
        [undefined, undefined, end, undefined],
      );
    }
    assert.deepEqual(together.map(tokensOf), alone.map(tokensOf));
    await decoder.release();
  });
}
