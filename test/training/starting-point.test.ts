import assert from 'node:assert/strict';
import test from 'node:test';
import type { Hyperparameters } from '../../src/protocol/training-messages.ts';
import { pairViews } from '../../src/training/parameters.ts';
import { startingPoint } from '../../src/training/starting-point.ts';
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
    // A uniform distribution has a third of its bound's square as variance.
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
