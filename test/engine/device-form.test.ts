// The decoder in a device's form, with all its memory from the runtime, beside the host's form on the processor: both
// give the same logits for prompts in pieces, for steps of rows with adapters of every kind, and after rows have moved.

import assert from 'node:assert/strict';
import test from 'node:test';
import type { ModelShape } from '../../src/core/base-model.ts';
import { systemClock } from '../../src/core/clock.ts';
import { notOn } from '../../src/core/layer-plan.ts';
import { prng } from '../../src/core/prng.ts';
import { createBreath } from '../../src/engine/adapters/breath.ts';
import { readAdapter } from '../../src/engine/adapters/read-adapter.ts';
import type { RowAdapter } from '../../src/engine/adapters/row-adapter.ts';
import { probeRow } from '../../src/engine/kv/kv-cache.ts';
import { createDecoder, type Decoder } from '../../src/engine/runner/decoder.ts';
import { targetOf } from '../../src/engine/runner/device-target.ts';
import { type EvenBatch, evenBatch } from '../../src/engine/runner/forward-batch.ts';
import type { GraphTarget, Real } from '../../src/graph/target.ts';
import { hostBeside, testRuntime } from '../helpers/test-runtime.ts';
import { tinyLowered, tinyModel } from '../helpers/tiny-lowered.ts';
import type { TinyModel } from '../helpers/tiny-models.ts';
import { everyModule, layerModules, randomAdapter } from './adapters/random-adapters.ts';

const device = testRuntime();
const host = hostBeside(device);
const breath = createBreath(systemClock);
const rows = 5;

const plans = [
  { seed: 1, modules: layerModules, r: 16 },
  { seed: 2, modules: ['q_proj', 'v_proj'], r: 1 },
  { seed: 7, modules: everyModule, r: 5, dora: true },
  null,
  { seed: 5, modules: everyModule, r: 9 },
] as const;

type Case = {
  readonly bits: 32 | null;
  readonly real: Real;
  readonly tolerance: number;
  /** llama-gguf by default. */
  readonly name?: TinyModel;
  /** Numbers of each head that rotate; all by default. */
  readonly ropeDims?: number;
};

/** Largest difference over the largest logit. At the native width, the host rounds activations of 8-bit products. */
const cases: readonly Case[] = [
  { bits: 32, real: 'float32', tolerance: 1e-4 },
  { bits: null, real: 'float32', tolerance: 0.02 },
  { bits: null, real: 'float16', tolerance: 0.03 },
  { bits: 32, real: 'float32', tolerance: 1e-4, name: 'qwen3', ropeDims: 16 },
  ...(['smollm3', 'granite', 'mistral', 'gemma2', 'gemma3'] as const).flatMap((name): Case[] => [
    { bits: 32, real: 'float32', tolerance: 1e-4, name },
    { bits: null, real: 'float16', tolerance: 0.03, name },
    { bits: 32, real: 'bfloat16', tolerance: 0.06, name },
  ]),
];

for (const { bits, real, tolerance, name = 'llama-gguf', ropeDims } of cases) {
  const told = `${name}${ropeDims ? `, ${ropeDims} numbers of a head turn` : ''}, ${bits ?? 'native'} bits, ${real}`;
  // A software device has no half floats; CUDA’s attention takes those alone, or bfloat16 where it computes in that.
  const { name: place = 'host', real: own = null, blocks: inBlocks = null } = device.device ?? {};
  const { shape } = await tinyModel(name);
  const isElsewhere = (place !== 'host' || inBlocks || real === 'bfloat16') && real !== own;
  const skip = isElsewhere || (notOn(place, shape) ?? false);
  test(`in a device’s form every row gets the host’s logits: ${told}`, {
    skip,
  }, async (t) => {
    const lowered = await tinyLowered(name, bits);
    const model = ropeDims ? { ...lowered, shape: { ...lowered.shape, ropeDims } } : lowered;
    const options = { rows, positions: 64, pages: 12, decodeActivations: 'int16', kvType: 'float32' } as const;
    const pair = [
      createDecoder(host, model, options),
      createDecoder(device, model, { ...options, target: deviceTarget(model.shape, real) }),
    ] as const;
    const placed: (readonly [RowAdapter | null, RowAdapter | null])[] = [];
    for (const plan of plans) {
      if (plan === null) {
        placed.push([null, null]);
        continue;
      }
      const adapter = await readAdapter(randomAdapter(model.shape, plan).files, { model, breath });
      const scale = 'dora' in plan ? 1 : 0.5;
      const place = ({ pages }: Decoder) => ({ adapter, scale, placement: pages.place(adapter)! });
      placed.push([place(pair[0]), place(pair[1])]);
    }
    for (const row of placed.flat()) await row?.placement.copied;
    const [largest, effect] = await compare(pair, placed);
    t.diagnostic(`within ${largest.toExponential(1)} of the largest logit; adapters change ${effect.toFixed(2)}`);
    assert.ok(largest < tolerance, `${largest}`);
    assert.ok(effect > 0.05, 'the adapters change nothing');
    for (const decoder of pair) await decoder.release();
  });
}

/** The target of the device under test; the processor can stand in for a device. */
function deviceTarget(shape: ModelShape, real: Real): GraphTarget {
  return device.device ? targetOf(device, shape, real) : { on: 'device', real };
}

/** The largest difference between both decoders, and the largest effect of adapters, over the largest logit. */
async function compare(
  pair: readonly [Decoder, Decoder],
  placed: readonly (readonly [RowAdapter | null, RowAdapter | null])[],
): Promise<[difference: number, effect: number]> {
  const random = prng(9);
  const { vocabulary } = pair[0];
  const token = () => Math.floor(random() * vocabulary);
  let [largest, effect, scale] = [0, 0, 0];
  const run = async (batch: Omit<EvenBatch, 'first'>, who: readonly number[]): Promise<Float32Array> => {
    const logits: Float32Array[] = [];
    for (const [side, decoder] of pair.entries()) {
      const even = evenBatch({ ...batch, first: 0, adapters: who.map((row) => placed[row]?.[side] ?? null) });
      const parts = even.parts.map((part, i) => ({ ...part, row: who[i]! }));
      logits.push((await decoder.forward({ ...even, parts })).slice());
    }
    const [a, b] = logits as [Float32Array, Float32Array];
    for (const [i, logit] of a.entries()) {
      // Written so that a NaN counts, which Math.max and `>` would lose.
      if (!(Math.abs(logit - b[i]!) <= largest)) largest = Math.abs(logit - b[i]!);
      scale = Math.max(scale, Math.abs(logit));
    }
    return a;
  };
  const pasts = Array.from({ length: rows }, (_, row) => 3 + 4 * row);
  for (const [row, length] of pasts.entries()) {
    const tokens = Array.from({ length }, token);
    const half = Math.ceil(length / 2);
    const prefill = { kind: 'prompt' } as const;
    await run({ ...prefill, pasts: [0], tokens: tokens.slice(0, half), sampled: [half - 1] }, [row]);
    await run({ ...prefill, pasts: [half], tokens: tokens.slice(half), sampled: [0, length - half - 1] }, [row]);
  }
  let who = [0, 1, 2, 3, 4];
  const step = async () => {
    const tokens = who.map(token);
    const sampled = who.map((_, i) => i);
    const logits = await run({ kind: 'answer', pasts: who.map((row) => pasts[row]!), tokens, sampled }, who);
    for (const row of who) pasts[row]!++;
    return { logits, tokens };
  };
  for (let i = 0; i < 3; i++) await step();
  // A row ends; then the rows run in another order, and a probe runs on the row that belongs to no sequence.
  for (const { kv } of pair) kv.clear(1);
  who = [0, 4, 2, 3];
  await step();
  who = [3, 4, 2, 0];
  await step();
  await run({ kind: 'prompt', pasts: [0], tokens: [1, 2, 3], sampled: [2] }, [probeRow]);
  await step();
  const { logits, tokens } = await step();
  const again = who.map((row) => pasts[row]! - 1);
  const even = evenBatch({ kind: 'answer', first: 0, pasts: again, tokens, sampled: who.map((_, i) => i) });
  const plain = await pair[1].forward({ parts: even.parts.map((part, i) => ({ ...part, row: who[i]! })) });
  for (const [i, logit] of plain.entries()) effect = Math.max(effect, Math.abs(logit - logits[i]!));
  return [largest / scale, effect / scale];
}
