import assert from 'node:assert/strict';
import test from 'node:test';
import { readPeftAdapter } from '../../src/formats/peft-adapter.ts';
import { parseSafetensorsHeader } from '../../src/formats/safetensors.ts';
import { trainableModules } from '../../src/jobs/hyperparameters.ts';
import type { Hyperparameters } from '../../src/protocol/training-messages.ts';
import { decodeAdapter, encodeAdapter } from '../../src/training/adapter-bytes.ts';
import { pairViews } from '../../src/training/parameters.ts';
import { startingPoint } from '../../src/training/starting-point.ts';
import { writeAdapterFiles } from '../engine/adapters/random-adapters.ts';
import { tinyModel } from '../helpers/tiny-lowered.ts';
import { defaultHyperparameters } from './hyperparameters.ts';
import { tinyJob } from './tiny-job.ts';

async function fresh(settings: Partial<Hyperparameters>) {
  const { shape } = await tinyModel('llama');
  const { model } = await tinyJob();
  const hyperparameters = { ...defaultHyperparameters, ...settings };
  const start = await startingPoint({ model, hyperparameters, initial: null }, shape);
  return { ...start, pairs: pairViews(start.values, shape, start.targets) };
}

test('A is uniform within 1 / sqrt(in), as kaiming_uniform with a = sqrt(5) makes it, and B is zero', async () => {
  const { pairs } = await fresh({ r: 64, targetModules: ['q_proj', 'down_proj'] });
  assert.equal(pairs.length, 4);
  for (const { a, b, size } of pairs) {
    const bound = 1 / Math.sqrt(size.in);
    const [sum, squares] = a.reduce(([x, y], value) => [x + value, y + value ** 2], [0, 0]);
    assert.ok(a.every((value) => Math.abs(value) <= bound));
    assert.ok(Math.abs(sum / a.length) < 0.05 * bound);
    // The variance of a uniform distribution is a third of its bound's square.
    assert.ok(Math.abs(squares / a.length / (bound ** 2 / 3) - 1) < 0.05);
    assert.ok(b.every((value) => value === 0));
  }
});

test('the seed decides A, and nothing else does', async () => {
  const { values } = await fresh({ seed: 1 });
  assert.deepEqual((await fresh({ seed: 1, learningRate: 1, shuffle: true, loraDropout: 0.5 })).values, values);
  assert.notDeepEqual((await fresh({ seed: 2 })).values, values);
});

test('ranks and scalings are what PEFT makes of the patterns', async () => {
  const { targets } = await fresh({
    ...{ r: 4, loraAlpha: 8, targetModules: ['q_proj', 'up_proj'] },
    rankPattern: { 'layers.0.self_attn.q_proj': 2, up_proj: 16 },
  });
  assert.deepEqual(targets, [
    { layer: 0, module: 'q_proj', r: 2, scaling: 4 },
    { layer: 0, module: 'up_proj', r: 16, scaling: 0.5 },
    { layer: 1, module: 'q_proj', r: 4, scaling: 2 },
    { layer: 1, module: 'up_proj', r: 16, scaling: 0.5 },
  ]);
});

test('linears whose rows are one module have one pair, as PEFT has them, and a job goes on from it', async () => {
  const { shape } = await tinyModel('phi3');
  const { model } = await tinyJob();
  const hyperparameters = { ...defaultHyperparameters, r: 3, targetModules: trainableModules };
  const { config, targets, values } = await startingPoint({ model, hyperparameters, initial: null }, shape);
  assert.deepEqual(config.target_modules, ['qkv_proj', 'o_proj', 'gate_up_proj', 'down_proj']);
  assert.deepEqual(
    targets.filter(({ layer }) => layer === 1).map(({ module, r }) => [module, r]),
    [
      ['qkv_proj', 3],
      ['o_proj', 3],
      ['gate_up_proj', 3],
      ['down_proj', 3],
    ],
  );
  for (let i = 0; i < values.length; i++) values[i] = Math.sin(i);
  const bytes = encodeAdapter(values, { config, targets }, shape);
  // The serving form has a pair for each linear, with the same A.
  const header = parseSafetensorsHeader(bytes.weights, bytes.weights.length)!;
  const { pairs } = readPeftAdapter(bytes.config, header, shape);
  assert.equal(pairs.length, shape.layers * trainableModules.length);
  const initial = writeAdapterFiles(bytes.config, bytes.weights);
  const again = await startingPoint({ model, hyperparameters, initial }, shape);
  assert.deepEqual(again.values, values);
  assert.deepEqual(again.targets, targets);
  const read = new Float32Array(values.length);
  decodeAdapter(bytes, read, targets, shape);
  assert.deepEqual(read, values);
});
