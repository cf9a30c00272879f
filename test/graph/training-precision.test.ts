// The training graph with products of bfloat16: as far from exact derivatives as torch's autocast is, and itself in
// every form that must not matter. On the processor a pretended device rounds what a card would.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { notOn } from '../../src/core/layer-plan.ts';
import { prng } from '../../src/core/prng.ts';
import { dataTypes } from '../../src/formats/onnx.ts';
import { dropoutLength, fillDropout } from '../../src/graph/dropout.ts';
import type { LinearBits, LoweredModel } from '../../src/graph/lowered.ts';
import { trainerWeightBytes } from '../../src/graph/trainer-bytes.ts';
import type { TrainingForm } from '../../src/graph/training-form.ts';
import { buildTrainingGraph } from '../../src/graph/training-graph.ts';
import type { Runtime } from '../../src/runtime/session.ts';
import { bfloat16Device } from '../helpers/bfloat16-device.ts';
import { asDevice, hostBeside, testRuntime } from '../helpers/test-runtime.ts';
import { tinyLowered } from '../helpers/tiny-lowered.ts';
import type { TinyModel } from '../helpers/tiny-models.ts';
import {
  batchOf,
  randomAdapter,
  type TrainingResult,
  type TrainingText,
  trainingSession,
} from '../helpers/training-session.ts';
import { torchCases } from './torch-gradients.ts';

const opened = testRuntime();
const device = bfloat16Device(opened);
const skip = device === null ? 'it has no bfloat16' : false;
/** What computes exactly beside it. */
const exactly = asDevice(hostBeside(opened), {});

/** Distances of torch's autocast, as make-gradients.py says. */
type Autocast = {
  readonly model: TinyModel;
  readonly loss: number;
  readonly logprobs: number;
  readonly gradients: readonly number[];
};
const fixture = new URL('../fixtures/autocast.json', import.meta.url);
const autocast = JSON.parse(readFileSync(fixture, 'utf8')) as readonly Autocast[];

const normOf = (values: Float32Array) => Math.hypot(...values);
/** ‖found - expected‖ / ‖expected‖ */
const distance = (found: Float32Array, expected: Float32Array) =>
  normOf(found.map((value, i) => value - expected[i]!)) / normOf(expected);
const meanSquare = (values: readonly number[]) =>
  Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length);

function apart(found: TrainingResult, expected: TrainingResult) {
  const gradients = [...found.gradients].map(([name, values]) => distance(values, expected.gradients.get(name)!));
  return {
    loss: Math.abs(found.loss - expected.loss),
    logprobs: distance(found.logprobs, expected.logprobs),
    gradients,
  };
}

for (const { name, texts, run } of torchCases) {
  test(`derivatives are as far from exact ones as those of torch's autocast: ${name}`, { skip }, async (t) => {
    const model = await tinyLowered(name, 32);
    const missing = notOn('cuda', model.shape);
    if (missing !== null) return t.skip(`not on it: ${missing}`);
    const { targets, adapter, expected } = run(model);
    const form = { ...formOf(model), targets, positions: 64 };
    const found = await (await trainingSession(device!, model, form))(batchOf([texts], 64), adapter);
    const ours = apart(found, expected);
    const torch = autocast.find((one) => one.model === name)!;
    assert.equal(torch.gradients.length, ours.gradients.length);
    // Measured over the models: 0.83 to 1.09 of torch's over all derivatives, at most 1.97 of a single one, 1.54 of
    // log-probabilities. All are random.
    const [all, ofTorch] = [meanSquare(ours.gradients), meanSquare(torch.gradients)];
    assert.ok(all < 1.25 * ofTorch && all > 0.5 * ofTorch, `${all} for torch's ${ofTorch}`);
    for (const [i, one] of ours.gradients.entries()) {
      assert.ok(one < 2.5 * torch.gradients[i]!, `${i}: ${one} for torch's ${torch.gradients[i]}`);
    }
    assert.ok(ours.logprobs < 2 * torch.logprobs, `${ours.logprobs} for torch's ${torch.logprobs}`);
    assert.ok(ours.loss < 2e-3 * expected.loss, `${found.loss} for ${expected.loss}`);
  });
}

// --- forms ---

const modules = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] as const;
const texts: readonly TrainingText[] = [
  { tokens: [9, 41, 205, 33, 33, 180, 7], firstTarget: 3 },
  { tokens: [250, 12, 77, 140, 2], firstTarget: 1 },
  { tokens: [61, 118, 5, 299, 84, 19, 222, 101, 6], firstTarget: 7 },
];
const packed = batchOf([texts], 24);

function formOf(model: LoweredModel, changes: Partial<TrainingForm> = {}): TrainingForm {
  const targets = Array.from({ length: model.shape.layers }, (_, layer) =>
    modules.map((module, i) => ({ layer, module, r: 1 + ((layer + i) % 3), scaling: 0.5 + i / 4 })),
  ).flat();
  const form = { targets, positions: 24, dropout: false, backward: true, recompute: false } as const;
  return { ...form, on: 'device', precision: 'bfloat16', ...changes };
}

async function stepOf(runtime: Runtime, model: LoweredModel, changes: Partial<TrainingForm> = {}, mask?: Float32Array) {
  const form = formOf(model, changes);
  const adapter = randomAdapter(model, form, prng(4));
  return (await trainingSession(runtime, model, form))(packed, adapter, mask);
}

for (const [name, bits] of [
  ['llama', 8],
  ['llama', 4],
  ['llama', 16],
  ['llama-gguf', null],
  ['qwen2', null],
  ['qwen3', 4],
] as readonly (readonly [TinyModel, LinearBits | null])[]) {
  test(`weights are taken apart into bfloat16: ${name}, ${bits ?? 'native'} bits`, { skip }, async () => {
    const model = await tinyLowered(name, bits);
    const exact = await stepOf(exactly, model, { precision: 'float32' });
    const { gradients, logprobs, loss } = apart(await stepOf(device!, model), exact);
    // Measured: 0.014 to 0.028 over all derivatives, at most 0.062 of one.
    assert.ok(meanSquare(gradients) < 0.04 && Math.max(...gradients) < 0.12, `${gradients}`);
    assert.ok(meanSquare(gradients) > 0.005, `${gradients}`);
    assert.ok(logprobs < 0.01 && loss < 5e-3 * exact.loss, `${logprobs} ${loss}`);
  });
}

test('layers computed again give the same bits, dropout included', { skip }, async () => {
  const model = await tinyLowered('llama-gguf', null);
  const form = formOf(model);
  const mask = new Float32Array(dropoutLength(model.shape, form.targets, 24));
  fillDropout(mask, 0.3, prng(9));
  for (const dropout of [false, true]) {
    const of = (recompute: boolean) => stepOf(device!, model, { recompute, dropout }, dropout ? mask : undefined);
    assert.deepEqual(await of(true), await of(false));
  }
});

test('what dropout drops counts neither forward nor backward', { skip }, async () => {
  const model = await tinyLowered('qwen3', 8);
  const mask = new Float32Array(dropoutLength(model.shape, formOf(model).targets, 24));
  fillDropout(mask, 0, prng(9));
  const kept = await stepOf(device!, model, { dropout: true }, mask);
  const plain = await stepOf(device!, model);
  // The same forward; on the way back float32 adds what bfloat16 adds without masks.
  assert.deepEqual([kept.loss, kept.logprobs], [plain.loss, plain.logprobs]);
  assert.ok(meanSquare(apart(kept, plain).gradients) < 0.02);
  fillDropout(mask, 0.3, prng(9));
  const exact = await stepOf(exactly, model, { dropout: true, precision: 'float32' }, mask);
  assert.ok(meanSquare(apart(await stepOf(device!, model, { dropout: true }, mask), exact).gradients) < 0.04);
});

test('without a backward pass the loss is the same', { skip }, async () => {
  const model = await tinyLowered('qwen2', null);
  const { loss, logprobs } = await stepOf(device!, model);
  const forward = await stepOf(device!, model, { backward: false });
  assert.deepEqual([forward.loss, forward.logprobs], [loss, logprobs]);
});

test('each tensor is cast once, and no weight in a step', async () => {
  const model = await tinyLowered('llama', 32);
  const { graph, weights } = buildTrainingGraph(model, formOf(model));
  const casts = graph.nodes.filter(({ op, attributes }) => op === 'Cast' && attributes!.to !== dataTypes.int64);
  const read = casts.map(({ inputs, attributes }) => `${inputs[0]} ${attributes!.to}`);
  assert.equal(new Set(read).size, read.length);
  const held = casts.filter(({ inputs }) => weights.has(inputs[0]!));
  assert.deepEqual(held, []);
  const { layers } = model.shape;
  // In a layer A, B and both derivatives of seven pairs, and 34 activations; 8 in the embedding and the loss.
  assert.equal(casts.length, layers * (4 * modules.length + 34) + 8, `${casts.length}`);
  const plain = buildTrainingGraph(model, formOf(model, { precision: 'float32' })).graph;
  assert.equal(
    plain.nodes.filter(({ op, attributes }) => op === 'Cast' && attributes!.to !== dataTypes.int64).length,
    0,
  );
});

test('what a trainer holds of the weights is what a device that shares its memory with it counts', async () => {
  for (const [name, bits] of [
    ['llama', 32],
    ['llama', 16],
    ['llama-gguf', null],
    ['qwen3', 4],
  ] as const) {
    const model = await tinyLowered(name, bits);
    for (const precision of ['float32', 'bfloat16'] as const) {
      const { weights } = buildTrainingGraph(model, formOf(model, { precision }));
      const held = new Set([...weights.values()].map(({ data }) => data));
      const bytes = [...held].reduce((sum, data) => sum + data.byteLength, 0);
      const counted = trainerWeightBytes(model, precision);
      // Norms, biases and rotary tables are not counted.
      assert.ok(counted <= bytes && bytes < 1.2 * counted, `${name} ${bits} ${precision}: ${counted} of ${bytes}`);
    }
  }
});

test('the host does not train so', async () => {
  const model = await tinyLowered('llama', 32);
  assert.throws(() => buildTrainingGraph(model, formOf(model, { on: 'host' })), /host trains with float32/);
});
