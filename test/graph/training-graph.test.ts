// The training graph in the real runtime: against torch's derivatives, against differences of its own loss, and in
// forms that must not change the result.

import assert from 'node:assert/strict';
import test from 'node:test';
import { targetModules } from '../../src/core/adapter.ts';
import { notOn } from '../../src/core/layer-plan.ts';
import { prng } from '../../src/core/prng.ts';
import { dropoutLength, fillDropout } from '../../src/graph/dropout.ts';
import type { LinearBits, LoweredModel } from '../../src/graph/lowered.ts';
import { type TrainingForm, trainingNames } from '../../src/graph/training-form.ts';
import { buildTrainingGraph } from '../../src/graph/training-graph.ts';
import { asDevice, testRuntime } from '../helpers/test-runtime.ts';
import { tinyLowered } from '../helpers/tiny-lowered.ts';
import type { TinyModel } from '../helpers/tiny-models.ts';
import {
  batchOf,
  randomAdapter,
  type TrainingResult,
  type TrainingText,
  trainingSession,
} from '../helpers/training-session.ts';
import { floatCopy } from './float-copy.ts';
import { torchCases } from './torch-gradients.ts';

const runtime = testRuntime();
const modules = targetModules.filter((module) => module !== 'lm_head');

const texts: readonly TrainingText[] = [
  { tokens: [9, 41, 205, 33, 33, 180, 7], firstTarget: 3 },
  { tokens: [250, 12, 77, 140, 2], firstTarget: 1 },
  { tokens: [61, 118, 5, 299, 84, 19, 222, 101, 6], firstTarget: 7 },
];
const alone = batchOf(
  texts.map((text) => [text]),
  9,
);
const packed = batchOf([[texts[0]!, texts[1]!, texts[2]!]], 24);

function formOf(model: LoweredModel, changes: Partial<TrainingForm> = {}): TrainingForm {
  const targets = Array.from({ length: model.shape.layers }, (_, layer) =>
    modules.map((module, i) => ({ layer, module, r: 1 + ((layer + i) % 3), scaling: 0.5 + i / 4 })),
  ).flat();
  return { targets, positions: 24, dropout: false, backward: true, recompute: false, ...changes };
}

/** ‖found - expected‖ / ‖expected‖ */
function distance(found: Float32Array, expected: Float32Array): number {
  assert.equal(found.length, expected.length);
  const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0));
  return norm(found.map((value, i) => value - expected[i]!)) / norm(expected);
}

type Tolerance = { readonly forward: number; readonly backward: number };
/**
 * The host's products round activations to 16 bits and, in the backward pass, weights to 12. Measured errors are half
 * of these.
 */
const rounding: Tolerance = { forward: 5e-5, backward: 3e-3 };
const onHost = runtime.device === null;

function assertSame(found: TrainingResult, expected: TrainingResult, tolerance: number | Tolerance): void {
  const { forward, backward } = typeof tolerance === 'number' ? { forward: tolerance, backward: tolerance } : tolerance;
  assert.ok(Math.abs(found.loss - expected.loss) < forward * expected.loss, `${found.loss}, ${expected.loss}`);
  assert.ok(distance(found.logprobs, expected.logprobs) < forward);
  assert.ok(found.gradients.size > 0);
  for (const [name, gradient] of found.gradients) {
    const apart = distance(gradient, expected.gradients.get(name)!);
    assert.ok(apart < backward, `${name}: ${apart}`);
  }
}

// --- torch ---

const forms = [
  { told: '', recompute: false, place: runtime },
  { told: ', layers computed again', recompute: true, place: runtime },
  ...(runtime.device === null ? [{ told: ', as on a device', recompute: false, place: asDevice(runtime, {}) }] : []),
];

for (const { name, texts, run } of torchCases) {
  for (const { told, recompute, place } of forms) {
    test(`torch has the same loss and derivatives: ${name}${told}`, async (t) => {
      const model = await tinyLowered(name, 32);
      const missing = notOn(place.device?.name ?? 'cpu', model.shape);
      if (missing !== null) return t.skip(`not on it: ${missing}`);
      const { targets, adapter, expected } = run(model);
      const step = await trainingSession(place, model, formOf(model, { targets, recompute, positions: 64 }));
      assertSame(await step(batchOf([texts], 64), adapter), expected, 1e-5);
    });
  }
}

// --- differences ---

const lowered: readonly (readonly [TinyModel, LinearBits | null])[] = [
  ['llama', 8],
  ['llama', 4],
  ['llama-gguf', null],
  ['qwen2', 8],
  ['qwen3', 4],
];

for (const [name, bits] of lowered) {
  test(`the loss falls as its derivatives say, in every target: ${name}, ${bits ?? 'native'} bits`, async () => {
    const model = await tinyLowered(name, bits);
    const form = formOf(model);
    const random = prng(3);
    const adapter = randomAdapter(model, form, random);
    const { gradients } = await (await trainingSession(runtime, model, form))(packed, adapter);
    // With the same weights as floats: rounding would hide the effect of so small a change.
    const forward = await trainingSession(runtime, floatCopy(model), { ...form, backward: false });
    for (const [parameter, values] of adapter) {
      // Half along the gradient, half in any direction: the first shows a missing part, the second a wrong one.
      const gradient = gradients.get(parameter)!;
      const length = Math.hypot(...gradient);
      const aside = gradient.map(() => random() - 0.5);
      const direction = gradient.map((value, i) => value / length + aside[i]! / Math.hypot(...aside));
      const expected = direction.reduce((sum, value, i) => sum + value * gradient[i]!, 0);
      const lossAt = async (step: number) => {
        const moved = values.map((value, i) => value + step * direction[i]!);
        return (await forward(packed, new Map(adapter).set(parameter, moved))).loss;
      };
      // Small enough for the third derivative, large enough for the loss's last bits.
      const slope = ((await lossAt(4e-3)) - (await lossAt(-4e-3))) / 8e-3;
      assert.ok(Math.abs(slope - expected) < 0.01 * length, `${parameter}: ${slope} for ${expected}`);
    }
  });

  test(`taken apart inside the graph, weights are what they are: ${name}, ${bits ?? 'native'} bits`, async () => {
    const model = await tinyLowered(name, bits);
    const adapter = randomAdapter(model, formOf(model), prng(4));
    const [found, expected] = await Promise.all(
      [model, floatCopy(model)].map(async (one) => (await trainingSession(runtime, one, formOf(one)))(alone, adapter)),
    );
    assertSame(found!, expected!, onHost ? rounding : { forward: 1e-5, backward: 1e-5 });
  });
}

// --- forms that must not matter ---

// Attention sums a packed line in another order. Where products round activations to 16 bits, the last bit of such
// a sum may change how an activation is rounded.
for (const { bits, bound } of [
  { bits: 32, bound: 1e-5 },
  { bits: 8, bound: 1e-4 },
] as const) {
  test(`texts packed in a line are what they are alone, and so are padded ones, ${bits} bits`, async () => {
    const model = await tinyLowered('qwen3', bits);
    const adapter = randomAdapter(model, formOf(model), prng(5));
    const step = await trainingSession(runtime, model, formOf(model));
    const expected = await step(alone, adapter);
    assertSame(await step(packed, adapter), expected, bound);
    const wide = batchOf(
      texts.map((text) => [text]),
      17,
    );
    assertSame(await step(wide, adapter), expected, bound);
  });
}

test('layers computed again give the same bits', async () => {
  const model = await tinyLowered('llama-gguf', null);
  const adapter = randomAdapter(model, formOf(model), prng(6));
  const kept = await (await trainingSession(runtime, model, formOf(model)))(alone, adapter);
  const again = await (await trainingSession(runtime, model, formOf(model, { recompute: true })))(alone, adapter);
  assert.deepEqual(again, kept);
});

test('without a backward pass the loss is the same', async () => {
  const model = await tinyLowered('qwen2', null);
  const adapter = randomAdapter(model, formOf(model), prng(7));
  const { loss, logprobs } = await (await trainingSession(runtime, model, formOf(model)))(alone, adapter);
  const forward = await (await trainingSession(runtime, model, formOf(model, { backward: false })))(alone, adapter);
  assert.deepEqual([forward.loss, forward.logprobs], [loss, logprobs]);
});

test('any one target has the derivative that it has among others that add nothing', async () => {
  const model = await tinyLowered('llama', 8);
  const form = formOf(model);
  const adapter = randomAdapter(model, form, prng(8));
  const silent = new Map(
    [...adapter].map(([name, values]) => [name, name.startsWith('lora_b') ? values.map(() => 0) : values]),
  );
  const all = await trainingSession(runtime, model, form);
  for (const target of form.targets) {
    const own = [trainingNames.a(target.layer, target.module), trainingNames.b(target.layer, target.module)] as const;
    const beside = new Map(silent).set(own[1], adapter.get(own[1])!);
    const expected = await all(alone, beside);
    const found = await (await trainingSession(runtime, model, formOf(model, { targets: [target] })))(alone, beside);
    assert.deepEqual([...found.gradients.keys()], own);
    assertSame(found, expected, 1e-5);
  }
});

test('lm_head is refused by name', async () => {
  const model = await tinyLowered('llama', 8);
  const targets = [{ layer: 0, module: 'lm_head', r: 1, scaling: 1 }] as const;
  assert.throws(() => buildTrainingGraph(model, formOf(model, { targets })), /lm_head cannot be trained/);
});

// --- dropout ---

test('dropped inputs of a pair count neither forward nor backward', async () => {
  const model = await tinyLowered('llama', 8);
  const form = formOf(model, { dropout: true });
  const random = prng(9);
  const adapter = randomAdapter(model, form, random);
  const mask = new Float32Array(dropoutLength(model.shape, form.targets, 24));
  const dropping = await trainingSession(runtime, model, form);
  const plain = await trainingSession(runtime, model, { ...form, dropout: false });

  fillDropout(mask, 0, random);
  assertSame(await dropping(packed, adapter, mask), await plain(packed, adapter), 1e-6);

  fillDropout(mask, 0.3, random);
  const kept = mask.filter((value) => value !== 0);
  assert.ok(kept.every((value) => value === Math.fround(1 / 0.7)));
  assert.ok(Math.abs(kept.length / mask.length - 0.7) < 0.02);
  const { gradients, loss } = await dropping(packed, adapter, mask);
  assert.deepEqual((await dropping(packed, adapter, mask.slice())).gradients, gradients);
  const again = await trainingSession(runtime, model, { ...form, recompute: true });
  assert.deepEqual((await again(packed, adapter, mask)).gradients, gradients);
  assert.notEqual((await plain(packed, adapter)).loss, loss);
  const forward = await trainingSession(runtime, floatCopy(model), { ...form, backward: false });
  for (const [parameter, values] of adapter) {
    const gradient = gradients.get(parameter)!;
    const length = Math.hypot(...gradient);
    const lossAt = async (step: number) => {
      const moved = values.map((value, i) => value + (step * gradient[i]!) / length);
      return (await forward(packed, new Map(adapter).set(parameter, moved), mask)).loss;
    };
    const slope = ((await lossAt(4e-3)) - (await lossAt(-4e-3))) / 8e-3;
    assert.ok(Math.abs(slope - length) < 0.01 * length, `${parameter}: ${slope} for ${length}`);
  }
});
