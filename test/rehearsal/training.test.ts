// What a training step asks of a card, by ONNX Runtime's real CUDA provider on a card that is not there
// (scripts/rehearse-cuda.js): every node has a kernel in either precision, and bfloat16 adds casts and nothing else.

import assert from 'node:assert/strict';
import test from 'node:test';
import { notOn } from '../../src/core/layer-plan.ts';
import { prng } from '../../src/core/prng.ts';
import type { TrainingPrecision } from '../../src/core/training-precision.ts';
import { dropoutLength } from '../../src/graph/dropout.ts';
import type { LoweredModel } from '../../src/graph/lowered.ts';
import type { TrainingForm } from '../../src/graph/training-form.ts';
import { testRuntime } from '../helpers/test-runtime.ts';
import { tinyLowered, tinyModel } from '../helpers/tiny-lowered.ts';
import { familyModels } from '../helpers/tiny-models.ts';
import { batchOf, randomAdapter, trainingSession } from '../helpers/training-session.ts';
import { createLogReader, skip } from './card-log.ts';

const modules = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] as const;
const batch = batchOf([[{ tokens: [1, 2, 3, 4, 5, 6], firstTarget: 3 }], [{ tokens: [7, 8, 9], firstTarget: 1 }]], 9);

type Changes = Partial<Pick<TrainingForm, 'dropout' | 'recompute' | 'backward'>>;

/** Launches of one step, the second of its session. */
async function launchesOf(model: LoweredModel, precision: TrainingPrecision, changes: Changes = {}) {
  const targets = Array.from({ length: model.shape.layers }, (_, layer) =>
    modules.map((module) => ({ layer, module, r: 4, scaling: 2 })),
  ).flat();
  const form = { targets, positions: 9, dropout: false, backward: true, recompute: false, precision, ...changes };
  const step = await trainingSession(testRuntime({ strict: true }), model, form);
  const mask = form.dropout ? new Float32Array(dropoutLength(model.shape, targets, 18)) : undefined;
  const adapter = randomAdapter(model, form, prng(1));
  await step(batch, adapter, mask);
  const read = createLogReader();
  read();
  await step(batch, adapter, mask);
  step.release();
  const launches = read().flatMap((line) => (line.startsWith('launch ') ? [line.slice('launch '.length)] : []));
  assert.ok(!launches.includes('?'), 'a kernel that nobody registered');
  const count = (pattern: RegExp) => launches.filter((name) => pattern.test(name)).length;
  return {
    all: launches.length,
    casts: count(/OP_Cast/),
    products: count(/^cublas\w*[Gg]emm/),
    floatProducts: count(/^cublasSgemm/),
  };
}

for (const name of ['llama-gguf', 'qwen2', 'qwen3', ...familyModels] as const) {
  const missing = notOn('cuda', (await tinyModel(name)).shape);
  test(`a training step of ${name} runs in either precision`, { skip: skip || (missing ?? false) }, async (t) => {
    for (const bits of [null, 32, 8, 4] as const) {
      const model = await tinyLowered(name, bits);
      const exact = await launchesOf(model, 'float32');
      const rounded = await launchesOf(model, 'bfloat16');
      t.diagnostic(
        `${bits} bits: ${exact.all} launches in float32, ${rounded.all} in bfloat16, ${rounded.casts} casts`,
      );
      const { layers } = model.shape;
      assert.ok(rounded.casts - exact.casts <= layers * (4 * modules.length + 36) + 8, `${rounded.casts}`);
      // The mean of the head's pieces is the loss's, in float32.
      assert.equal(rounded.floatProducts, 1);
      assert.equal(exact.floatProducts, exact.products);
      // What takes weights apart on the way there is a kernel of its own here, and part of the product there.
      const others = rounded.all - rounded.casts - (exact.all - exact.casts);
      assert.ok(others <= 12 * (4 * layers + 1), `${others}`);
    }
  });
}

test('dropout, layers computed again and validation run in either precision', { skip }, async () => {
  const model = await tinyLowered('llama-gguf', null);
  for (const precision of ['float32', 'bfloat16'] as const) {
    for (const changes of [{ dropout: true }, { recompute: true }, { backward: false }]) {
      assert.ok((await launchesOf(model, precision, changes)).all > 0);
    }
  }
});
