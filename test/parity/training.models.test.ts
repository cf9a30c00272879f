// Training on the real model against PEFT on the same dequantised weights: make-training-references.py says what is
// compared.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { linearSize, type TargetModule } from '../../src/core/adapter.ts';
import type { LoweredModel } from '../../src/graph/lowered.ts';
import { trainingNames } from '../../src/graph/training-form.ts';
import { loadWeights } from '../../src/graph/weights.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import { realModelFiles } from '../helpers/real-model.ts';
import { batchOf, type TrainingText, trainingSession } from '../helpers/training-session.ts';

type Case = {
  readonly name: string;
  readonly r: number;
  readonly scaling: number;
  readonly modules: readonly TargetModule[];
  readonly loss: number;
  readonly logprobs: readonly number[];
  /** For A and B of every target: the derivative's norm, and its product with `hashed(count, number + 1000)`. */
  readonly gradients: readonly (readonly [norm: number, along: number])[];
};
const url = new URL('references/training.json', import.meta.url);
const { texts, cases } = JSON.parse(readFileSync(url, 'utf8')) as { texts: TrainingText[]; cases: Case[] };

const cacheDir = mkdtempSync(join(tmpdir(), 'lorikeet-parity-'));
const runtime = createOnnxRuntime({ library: null, threads: null, spin: false });
let model: LoweredModel;

before(async () => {
  ({ model } = await loadWeights(await realModelFiles(), null, cacheDir, assert.fail));
});
after(() => rmSync(cacheDir, { recursive: true }));

/** The script's `values`. */
function hashed(count: number, salt: number): Float32Array {
  const value = (i: number) => ((i * 2654435761 + salt * 97531) % 2 ** 32) / 2 ** 32 - 0.5;
  return Float32Array.from({ length: count }, (_, i) => value(i) * 0.04);
}

for (const { name, r, scaling, modules, loss, logprobs, gradients } of cases) {
  test(`PEFT has the same loss and derivatives: ${name}`, async (context) => {
    const targets = Array.from({ length: model.shape.layers }, (_, layer) =>
      modules.map((module) => ({ layer, module, r, scaling })),
    ).flat();
    const parameters = targets.flatMap(({ layer, module }) => {
      const size = linearSize(model.shape, module);
      return [
        { name: trainingNames.a(layer, module), count: r * size.in },
        { name: trainingNames.b(layer, module), count: size.out * r },
      ];
    });
    const adapter = new Map(parameters.map(({ name, count }, i) => [name, hashed(count, i + 1)]));
    const length = texts.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const form = { targets, positions: length, dropout: false, backward: true, recompute: false };
    const step = await trainingSession(runtime, model, form);
    const found = await step(batchOf([texts], length), adapter);
    step.release();

    assert.ok(Math.abs(found.loss / loss - 1) < 1e-4, `${found.loss} for ${loss}`);
    const logprobApart = Math.max(...found.logprobs.map((value, i) => Math.abs(value - logprobs[i]!)));
    assert.ok(logprobApart < 1e-2, `a log-probability is ${logprobApart} apart`);
    let worst = 0;
    for (const [i, { name, count }] of parameters.entries()) {
      const gradient = found.gradients.get(name)!;
      const [norm, along] = gradients[i]!;
      const direction = hashed(count, i + 1001);
      const product = gradient.reduce((sum, value, j) => sum + value * direction[j]!, 0);
      // What rounding products to 16 and 12 bits makes of either: 0.0026 measured.
      const apart = Math.max(
        Math.abs(Math.hypot(...gradient) - norm) / norm,
        Math.abs(product - along) / (norm * Math.hypot(...direction)),
      );
      assert.ok(apart < 5e-3, `${name}: norm ${Math.hypot(...gradient)} for ${norm}, along ${product} for ${along}`);
      worst = Math.max(worst, apart);
    }
    context.diagnostic(`loss ${found.loss} for ${loss}; log-probabilities ${logprobApart}, derivatives ${worst} apart`);
  });
}
