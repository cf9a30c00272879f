// Runs a training graph in the real runtime: takes a batch, gives loss, log-probabilities and gradients.

import { linearSize } from '../../src/core/adapter.ts';
import { encodeOnnx } from '../../src/formats/onnx.ts';
import type { LoweredModel } from '../../src/graph/lowered.ts';
import { integersFor, type TrainingForm, trainingNames } from '../../src/graph/training-form.ts';
import { buildTrainingGraph } from '../../src/graph/training-graph.ts';
import type { Runtime, TensorData } from '../../src/runtime/session.ts';

export type TrainingBatch = {
  /** [B][T] token ids, all lines of one length. */
  readonly tokens: readonly (readonly number[])[];
  readonly positions: readonly (readonly number[])[];
  readonly segments: readonly (readonly number[])[];
  readonly sampled: readonly number[];
  readonly labels: readonly number[];
  readonly lossWeights: readonly number[];
};

/** Loss, log-probabilities, and gradients by the names of the outputs' A and B. */
export type TrainingResult = {
  readonly loss: number;
  readonly logprobs: Float32Array;
  readonly gradients: ReadonlyMap<string, Float32Array>;
};

/** A text whose tokens from `firstTarget` on are targets. */
export type TrainingText = { readonly tokens: readonly number[]; readonly firstTarget: number };

/** A batch of texts, line by line, each line padded to `length` tokens. Every target has the same share of the loss. */
export function batchOf(lines: readonly (readonly TrainingText[])[], length: number): TrainingBatch {
  const padded = lines.map((texts) => {
    const all = texts.flatMap(({ tokens }, segment) => tokens.map((token, i) => ({ token, position: i, segment })));
    const padding = { token: 0, position: 0, segment: -1 };
    return [...all, ...new Array<typeof padding>(length - all.length).fill(padding)];
  });
  const targets = lines.flatMap((texts, line) => {
    const starts = texts.map((_, i) =>
      texts.slice(0, i).reduce((sum, { tokens }) => sum + tokens.length, line * length),
    );
    return texts.flatMap(({ tokens, firstTarget }, i) =>
      tokens.slice(firstTarget).map((label, j) => ({ row: starts[i]! + firstTarget - 1 + j, label })),
    );
  });
  return {
    tokens: padded.map((line) => line.map(({ token }) => token)),
    positions: padded.map((line) => line.map(({ position }) => position)),
    segments: padded.map((line) => line.map(({ segment }) => segment)),
    sampled: targets.map(({ row }) => row),
    labels: targets.map(({ label }) => label),
    lossWeights: targets.map(() => 1 / targets.length),
  };
}

/** Opens a session for the runtime's device, unless `asked` names another. */
export async function trainingSession(runtime: Runtime, model: LoweredModel, asked: TrainingForm, profile?: string) {
  const on = runtime.device === null ? 'host' : 'device';
  const form = { on, ...asked } as const;
  const { graph, weights } = buildTrainingGraph(model, form);
  const tensors = new Map([...weights].map(([name, { shape, data }]) => [name, runtime.tensor(data, shape)]));
  const session = await runtime.session(encodeOnnx(graph), {
    weights: tensors,
    planMemory: false,
    ...(profile && { profile }),
  });

  /** Runs one step. `adapter` has A and B of every target, `mask` the dropout input where the form has one. */
  const step = async (
    batch: TrainingBatch,
    adapter: ReadonlyMap<string, Float32Array>,
    mask?: Float32Array,
  ): Promise<TrainingResult> => {
    const names = trainingNames;
    const binding = session.bind();
    const input = (name: string, data: TensorData, shape: readonly number[]) =>
      binding.input(name, runtime.tensor(data, shape));
    const output = (name: string, data: Float32Array, shape: readonly number[]) => {
      binding.output(name, runtime.tensor(data, shape));
      return data;
    };
    const lines = [batch.tokens.length, batch.tokens[0]!.length];
    const integers = (values: readonly number[]) => integersFor(form.on, BigInt64Array.from(values, BigInt));
    input(names.tokens, integers(batch.tokens.flat()), lines);
    input(names.positions, BigInt64Array.from(batch.positions.flat(), BigInt), lines);
    input(names.segments, integers(batch.segments.flat()), lines);
    const count = batch.sampled.length;
    input(names.sampled, integers(batch.sampled), [count]);
    input(names.labels, integers(batch.labels), [count]);
    input(names.lossWeights, Float32Array.from(batch.lossWeights), [count]);
    if (mask) input(names.dropout, mask, [mask.length]);
    const loss = output(names.loss, new Float32Array(1), [1]);
    const logprobs = output(names.logprobs, new Float32Array(count), [count]);
    const gradients = new Map<string, Float32Array>();
    for (const { layer, module, r } of form.targets) {
      const size = linearSize(model.shape, module);
      const [a, b] = [names.a(layer, module), names.b(layer, module)];
      input(a, adapter.get(a)!, [r, size.in]);
      input(b, adapter.get(b)!, [size.out, r]);
      if (!form.backward) continue;
      gradients.set(a, output(names.gradA(layer, module), new Float32Array(r * size.in), [r, size.in]));
      gradients.set(b, output(names.gradB(layer, module), new Float32Array(size.out * r), [size.out, r]));
    }
    await session.run(binding);
    binding.release();
    return { loss: loss[0]!, logprobs, gradients };
  };
  return Object.assign(step, { release: () => session.release() });
}

/** A and B of every target, uniform within `size`. */
export function randomAdapter(
  model: LoweredModel,
  { targets }: TrainingForm,
  random: () => number,
  size = 0.1,
): Map<string, Float32Array> {
  const floats = (length: number) => Float32Array.from({ length }, () => (random() * 2 - 1) * size);
  return new Map(
    targets.flatMap(({ layer, module, r }) => {
      const { in: inputs, out } = linearSize(model.shape, module);
      const pair: [string, Float32Array][] = [
        [trainingNames.a(layer, module), floats(r * inputs)],
        [trainingNames.b(layer, module), floats(out * r)],
      ];
      return pair;
    }),
  );
}
