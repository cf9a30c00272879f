// The objective, computed by the training graph: one session with derivatives, and one without for validation, made
// when first asked for. Parameters and derivatives are bound in place; on a device they are copied with each run.

import type { ModelShape } from '../core/base-model.ts';
import { prng } from '../core/prng.ts';
import type { TrainingPrecision } from '../core/training-precision.ts';
import { encodeOnnx } from '../formats/onnx.ts';
import { dropoutLength, fillDropout } from '../graph/dropout.ts';
import type { LoweredModel } from '../graph/lowered.ts';
import type { GraphTarget } from '../graph/target.ts';
import { integersFor, type TrainTarget, trainingNames } from '../graph/training-form.ts';
import { buildTrainingGraph } from '../graph/training-graph.ts';
import type { Binding, Runtime, Session, Tensor, TensorData } from '../runtime/session.ts';
import type { MicroBatch } from './micro-batch.ts';
import type { Objective } from './objective.ts';
import { pairViews } from './parameters.ts';

export type GraphOptions = {
  readonly targets: readonly TrainTarget[];
  /** Tokens of the longest row. */
  readonly positions: number;
  /** Probability at which an input of A is dropped in training. */
  readonly dropout: number;
  readonly recompute: boolean;
  /** Float type of products; float32 by default. */
  readonly precision?: TrainingPrecision;
  /** Laid out as parameters.ts says; read in place at every call. */
  readonly values: Float32Array<ArrayBuffer>;
};

export type GraphObjective = Objective & { release(): Promise<void> };

export async function graphObjective(
  runtime: Runtime,
  model: LoweredModel,
  options: GraphOptions,
): Promise<GraphObjective> {
  const { targets, positions, dropout, recompute, precision = 'float32', values } = options;
  const { shape } = model;
  const on = runtime.device === null ? 'host' : 'device';
  const shared = { targets, positions, recompute, precision, on } as const;
  const weights = new Map<string, Tensor>();
  const session = (form: { backward: boolean; dropout: boolean }) => {
    const { graph, weights: needed } = buildTrainingGraph(model, { ...shared, ...form });
    for (const [name, { data, shape }] of needed) {
      // Both sessions read the same memory.
      if (weights.has(name)) continue;
      weights.set(name, runtime.tensor(data, shape));
    }
    const own = new Map([...needed.keys()].map((name) => [name, weights.get(name)!]));
    // Nearly every micro-batch has a shape of its own, and the runtime would keep a memory plan for each.
    return runtime.session(encodeOnnx(graph), { weights: own, planMemory: false });
  };
  const training = await session({ backward: true, dropout: dropout > 0 });
  let validation: Promise<Session> | null = null;

  const { a, b, gradA, gradB } = trainingNames;
  const parameters = pairTensors(runtime, values, shape, targets, { a, b });
  const derivatives = new Float32Array(values.length);
  const outputs = pairTensors(runtime, derivatives, shape, targets, { a: gradA, b: gradB });
  let mask = new Float32Array(0);
  let logprobs = new Float32Array(0);

  return {
    async gradients(batch, weight, seed, gradients) {
      const loss = new Float32Array(1);
      using run = runOf(runtime, training, on);
      run.inputs(parameters).batch(batch, weight);
      if (dropout > 0) {
        const length = dropoutLength(shape, targets, batch.lines * batch.length);
        if (mask.length < length) mask = new Float32Array(length);
        fillDropout(mask.subarray(0, length), dropout, prng(seed));
        run.input(trainingNames.dropout, mask.subarray(0, length), [length]);
      }
      for (const [name, tensor] of outputs) run.binding.output(name, tensor);
      run.output(trainingNames.loss, loss, [1]);
      await training.run(run.binding);
      for (let i = 0; i < gradients.length; i++) gradients[i]! += derivatives[i]!;
      return loss[0]!;
    },
    async logprobs(batch) {
      validation ??= session({ backward: false, dropout: false });
      const forward = await validation;
      using run = runOf(runtime, forward, on);
      run.inputs(parameters).batch(batch, 1);
      const count = batch.labels.length;
      if (logprobs.length < count) logprobs = new Float32Array(count);
      const found = logprobs.subarray(0, count);
      run.output(trainingNames.logprobs, found, [count]);
      run.output(trainingNames.loss, new Float32Array(1), [1]);
      await forward.run(run.binding);
      return found;
    },
    async release() {
      training.release();
      (await validation)?.release();
      for (const tensor of [...weights.values(), ...parameters.values(), ...outputs.values()]) tensor.release();
    },
  };
}

type PairNames = Pick<typeof trainingNames, 'a' | 'b'>;

function pairTensors(
  runtime: Runtime,
  flat: Float32Array<ArrayBuffer>,
  shape: ModelShape,
  targets: readonly TrainTarget[],
  names: PairNames,
): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  for (const { target, size, a, b } of pairViews(flat, shape, targets)) {
    const { layer, module, r } = target;
    tensors.set(names.a(layer, module), runtime.tensor(a, [r, size.in]));
    tensors.set(names.b(layer, module), runtime.tensor(b, [size.out, r]));
  }
  return tensors;
}

/** A binding for one run, with the tensors that only this run binds. */
function runOf(runtime: Runtime, session: Session, on: GraphTarget['on']) {
  const binding: Binding = session.bind();
  const own: Tensor[] = [];
  const tensor = (data: TensorData, shape: readonly number[]) => {
    const made = runtime.tensor(data, shape);
    own.push(made);
    return made;
  };
  const run = {
    binding,
    input: (name: string, data: TensorData, shape: readonly number[]) => binding.input(name, tensor(data, shape)),
    output: (name: string, data: TensorData, shape: readonly number[]) => binding.output(name, tensor(data, shape)),
    inputs(tensors: ReadonlyMap<string, Tensor>) {
      for (const [name, shared] of tensors) binding.input(name, shared);
      return run;
    },
    batch({ lines, length, tokens, positions, segments, sampled, labels }: MicroBatch, weight: number) {
      const { lossWeights, ...names } = trainingNames;
      run.input(names.positions, positions, [lines, length]);
      for (const [name, data] of Object.entries({ tokens, segments })) {
        run.input(names[name as 'tokens'], integersFor(on, data), [lines, length]);
      }
      for (const [name, data] of Object.entries({ sampled, labels })) {
        run.input(names[name as 'sampled'], integersFor(on, data), [data.length]);
      }
      run.input(lossWeights, new Float32Array(labels.length).fill(weight), [labels.length]);
    },
    [Symbol.dispose]() {
      binding.release();
      for (const made of own) made.release();
    },
  };
  return run;
}
