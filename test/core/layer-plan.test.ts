// What the plan of a model says of each family, and what is refused by name.

import assert from 'node:assert/strict';
import test from 'node:test';
import { hostOnly, modelPlan, untrained, usualContext } from '../../src/core/layer-plan.ts';
import { tinyModel } from '../helpers/tiny-lowered.ts';
import { familyModels, tinyModels } from '../helpers/tiny-models.ts';

const onProcessors = {
  mistral: 'sliding-window attention',
  'qwen2-window': 'sliding-window attention',
  smollm3: 'layers without rotary positions',
  granite: 'scales of its own',
  phi3: 'sliding-window attention',
  gemma2: 'sliding-window attention',
  gemma3: 'sliding-window attention',
} as const;

for (const name of familyModels) {
  test(`a device refuses ${name} by name; the plan is of every layer`, async () => {
    const { shape } = await tinyModel(name);
    assert.equal(hostOnly(shape), onProcessors[name]);
    assert.equal(modelPlan(shape).layers.length, shape.layers);
  });
}

test('a window is not the only thing that a device refuses', async () => {
  const refused = async (name: (typeof familyModels)[number]) => {
    const { attention: _, ...shape } = (await tinyModel(name)).shape;
    return hostOnly(shape);
  };
  assert.equal(await refused('phi3'), 'rotary positions on a part of each head');
  assert.equal(await refused('gemma2'), 'soft caps');
  assert.equal(await refused('gemma3'), 'norms behind attention and MLP');
});

test('Phi and Gemma 2 are not trained, all else is', async () => {
  for (const name of [...tinyModels, ...familyModels]) {
    const expected = { phi3: 'q, k and v as one module, and gate and up as another', gemma2: 'soft caps' }[
      name as string
    ];
    assert.equal(untrained((await tinyModel(name)).shape), expected ?? null, name);
  }
});

test('the context that nobody chose is the one for which longrope computes as for short texts', async () => {
  const { shape } = await tinyModel('phi3');
  assert.deepEqual([shape.context, usualContext(shape)], [512, 256]);
  assert.equal(usualContext({ ...shape, ropeScaling: null }), 512);
});
