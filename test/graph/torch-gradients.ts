// Losses, log-probabilities and derivatives of torch on tiny models, as test/fixtures/make-gradients.py writes them.

import { readFileSync } from 'node:fs';
import { linearSize } from '../../src/core/adapter.ts';
import type { LoweredModel } from '../../src/graph/lowered.ts';
import { type TrainedModule, type TrainTarget, trainingNames } from '../../src/graph/training-form.ts';
import { hashedValues } from '../helpers/hashed-values.ts';
import type { TinyModel } from '../helpers/tiny-models.ts';
import type { TrainingResult, TrainingText } from '../helpers/training-session.ts';

type Fixture = {
  readonly r: number;
  readonly scaling: number;
  readonly modules: readonly TrainedModule[];
  readonly texts: readonly TrainingText[];
  readonly models: readonly {
    readonly model: TinyModel;
    /** Modules, where they differ from the fixture's. */
    readonly modules?: readonly TrainedModule[];
    readonly loss: number;
    readonly logprobs: readonly number[];
    /** Index of the model's first derivative among the fixture's floats. */
    readonly offset: number;
  }[];
};

type TorchRun = {
  readonly targets: readonly TrainTarget[];
  /** Values of A and B by the name of the graph's input. */
  readonly adapter: ReadonlyMap<string, Float32Array>;
  readonly expected: TrainingResult;
};

export type TorchCase = {
  readonly name: TinyModel;
  readonly texts: readonly TrainingText[];
  run(model: LoweredModel): TorchRun;
};

const read = (file: string) => readFileSync(new URL(`../fixtures/${file}`, import.meta.url));

export const torchCases: readonly TorchCase[] = ['gradients', 'families-gradients'].flatMap((name) => {
  const fixture = JSON.parse(read(`${name}.json`).toString()) as Fixture;
  const floats = new Float32Array(new Uint8Array(read(`${name}.bin`)).buffer);
  return fixture.models.map((one) => ({
    name: one.model,
    texts: fixture.texts,
    run: (model) => runOf(model, fixture, one, floats),
  }));
});

function runOf(
  { shape }: LoweredModel,
  { r, scaling, modules: common }: Fixture,
  { modules = common, loss, logprobs, offset }: Fixture['models'][number],
  floats: Float32Array,
): TorchRun {
  const targets = Array.from({ length: shape.layers }, (_, layer) =>
    modules.map((module) => ({ layer, module, r, scaling })),
  ).flat();
  const adapter = new Map<string, Float32Array>();
  const gradients = new Map<string, Float32Array>();
  let at = offset;
  for (const { layer, module } of targets) {
    const size = linearSize(shape, module);
    for (const [side, count] of [
      [trainingNames.a(layer, module), r * size.in],
      [trainingNames.b(layer, module), size.out * r],
    ] as const) {
      adapter.set(side, hashedValues(count, adapter.size + 1));
      gradients.set(side, floats.subarray(at, at + count));
      at += count;
    }
  }
  return { targets, adapter, expected: { loss, logprobs: Float32Array.from(logprobs), gradients } };
}
