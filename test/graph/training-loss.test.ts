// The loss over a head of several pieces, in the real runtime, against plain loops in double precision.

import assert from 'node:assert/strict';
import test from 'node:test';
import { prng } from '../../src/core/prng.ts';
import { encodeOnnx } from '../../src/formats/onnx.ts';
import type { LinearForm, LoweredModel } from '../../src/graph/lowered.ts';
import { createTrainingBuilder } from '../../src/graph/training-builder.ts';
import { integersFor, trainingNames } from '../../src/graph/training-form.ts';
import { addLoss } from '../../src/graph/training-loss.ts';
import { testRuntime } from '../helpers/test-runtime.ts';
import { linearValues } from './linear-values.ts';
import { randomLinear } from './random-linear.ts';

const runtime = testRuntime();
const random = prng(21);
const [vocabulary, k, S] = [9001, 32, 5];
const floats = (length: number, size = 1) => Float32Array.from({ length }, () => (random() - 0.5) * size);

/** A model that consists of a head. */
function headOf(bits: 4 | 8 | 32, corrected: boolean): LoweredModel {
  const form: LinearForm = { bits, n: vocabulary, k, corrected, halves: false, bias: false };
  const weights = randomLinear('head', form, random, bits === 4 ? 0.1 : 0.01);
  const shape = { layers: 0, hidden: k, vocabulary };
  return { shape, linears: new Map([['head', form]]), weights } as unknown as LoweredModel;
}

for (const [bits, corrected] of [
  [4, true],
  [8, false],
  [8, true],
  [32, false],
] as const) {
  test(`loss and derivative over ${bits}-bit pieces${corrected ? ' with minimums' : ''}`, async () => {
    const model = headOf(bits, corrected);
    const on = runtime.device === null ? 'host' : 'device';
    const form = { targets: [], positions: 1, dropout: false, backward: true, recompute: false, on } as const;
    const t = createTrainingBuilder(model, form);
    const { labels, lossWeights, loss, logprobs } = trainingNames;
    const h = t.g.input('h', 'float32', ['S', k]);
    t.g.input(labels, on === 'host' ? 'int64' : 'int32', ['S']);
    t.g.input(lossWeights, 'float32', ['S']);
    const dh = t.g.op('Identity', [addLoss(t, h)!], {}, 'dh');
    t.g.output(dh, 'float32', ['S', k]);
    const weights = new Map([...t.weights].map(([name, { shape, data }]) => [name, runtime.tensor(data, shape)]));
    const session = await runtime.session(encodeOnnx(t.g.build()), { weights });
    const binding = session.bind();
    // Ends of pieces, and one row whose label is nearly impossible.
    const chosen = [0, 4095, 4096, 8191, 9000];
    const rows = floats(S * k, 20);
    const shares = [0.5, 0, 1, 0.25, 2];
    const found = { loss: new Float32Array(1), logprobs: new Float32Array(S), dh: new Float32Array(S * k) };
    binding.input('h', runtime.tensor(rows, [S, k]));
    binding.input(labels, runtime.tensor(integersFor(on, BigInt64Array.from(chosen, BigInt)), [S]));
    binding.input(lossWeights, runtime.tensor(Float32Array.from(shares), [S]));
    binding.output(loss, runtime.tensor(found.loss, [1]));
    binding.output(logprobs, runtime.tensor(found.logprobs, [S]));
    binding.output('dh', runtime.tensor(found.dh, [S, k]));
    await session.run(binding);

    const W = linearValues(model, 'head');
    const at = (row: number, token: number) => {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += rows[row * k + i]! * W[token * k + i]!;
      return sum;
    };
    // The host rounds rows to 16 bits and, in the backward pass, weights to 12.
    const tolerance = on === 'host' && bits !== 32 ? 2e-3 : 1e-4;
    let expectedLoss = 0;
    for (let row = 0; row < S; row++) {
      const logits = Float64Array.from({ length: vocabulary }, (_, token) => at(row, token));
      const largest = logits.reduce((a, b) => Math.max(a, b));
      const logZ = largest + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0));
      const logprob = logits[chosen[row]!]! - logZ;
      assert.ok(Math.abs(found.logprobs[row]! - logprob) < tolerance, `${found.logprobs[row]} for ${logprob}`);
      expectedLoss -= shares[row]! * logprob;
      for (let i = 0; i < k; i++) {
        const mean = logits.reduce((sum, logit, token) => sum + Math.exp(logit - logZ) * W[token * k + i]!, 0);
        const expected = shares[row]! * (mean - W[chosen[row]! * k + i]!);
        assert.ok(Math.abs(found.dh[row * k + i]! - expected) < tolerance, `${found.dh[row * k + i]} for ${expected}`);
      }
    }
    assert.ok(Math.abs(found.loss[0]! - expectedLoss) < tolerance * Math.abs(expectedLoss));
  });
}
