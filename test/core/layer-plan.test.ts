// What the plan of a model says of each family, and what is refused by name.

import assert from 'node:assert/strict';
import test from 'node:test';
import { defaultContext, modelPlan, notOn } from '../../src/core/layer-plan.ts';
import { tinyModel } from '../helpers/tiny-lowered.ts';
import { familyModels, type TinyModel, tinyModels } from '../helpers/tiny-models.ts';

test('what devices do not compute is refused by name; the plan is of every layer', async () => {
  const rotary = 'rotary positions on 12 numbers of each head, which is no multiple of 16';
  const expected: Partial<Record<TinyModel, (string | null)[]>> = {
    phi3: [null, rotary, rotary],
    gemma2: [null, null, 'soft caps of attention'],
  };
  for (const name of [...tinyModels, ...familyModels]) {
    const { shape } = await tinyModel(name);
    const missing = ['cpu', 'cuda:1', 'webgpu'].map((device) => notOn(device, shape));
    assert.deepEqual(missing, expected[name] ?? [null, null, null], name);
    assert.equal(modelPlan(shape).layers.length, shape.layers);
  }
});

test('the context that nobody chose is the one for which longrope computes as for short texts', async () => {
  const { shape } = await tinyModel('phi3');
  assert.deepEqual([shape.context, defaultContext(shape)], [512, 256]);
  assert.equal(defaultContext({ ...shape, ropeScaling: null }), 512);
});
