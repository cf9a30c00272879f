// What a job trains: its pairs, and their values before the first step, either fresh as PEFT initialises them or those
// of an existing adapter.

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type AdapterFiles, peftModuleOf } from '../core/adapter.ts';
import type { ModelFiles, ModelShape } from '../core/base-model.ts';
import { prng, seedFor } from '../core/prng.ts';
import { proveDigest } from '../formats/adapter-digest.ts';
import { pairValues } from '../formats/adapter-values.ts';
import { readPeftAdapter } from '../formats/peft-adapter.ts';
import { parsePeftConfig, rankAndScaling } from '../formats/peft-config.ts';
import { moduleName, modulesByName, type NamedModule, type PeftModule } from '../formats/peft-modules.ts';
import { unsupportedAdapter } from '../formats/refuse-adapter.ts';
import { parseSafetensorsHeader, type SafetensorsTensor } from '../formats/safetensors.ts';
import type { TrainTarget } from '../graph/training-form.ts';
import type { Hyperparameters } from '../protocol/training-messages.ts';
import { type AdapterConfig, baseModelName, continuedConfig, freshConfig } from './adapter-config.ts';
import { pairViews, parameterCount } from './parameters.ts';
import { purposes } from './purposes.ts';

export type StartingPoint = {
  readonly config: AdapterConfig;
  readonly targets: readonly TrainTarget[];
  /** Values in the layout of parameters.ts. */
  readonly values: Float32Array<ArrayBuffer>;
};

type Job = {
  readonly model: ModelFiles;
  readonly hyperparameters: Hyperparameters;
  readonly initial: AdapterFiles | null;
};

/** Throws `adapter_...` for an adapter that cannot be trained on. */
export async function startingPoint(
  { model, hyperparameters, initial }: Job,
  shape: ModelShape,
): Promise<StartingPoint> {
  const baseModel = baseModelName(model);
  if (initial !== null) return continued(initial, hyperparameters, baseModel, shape);
  const config = freshConfig(hyperparameters, baseModel, shape);
  const targets = targetsOf(config, shape);
  return { config, targets, values: freshValues(targets, shape, hyperparameters.seed) };
}

/**
 * The pairs to train, read from the config as every reader of the result reads it, so that names and patterns mean what
 * PEFT makes of them.
 */
function targetsOf(config: AdapterConfig, shape: ModelShape): TrainTarget[] {
  const peft = parsePeftConfig(new TextEncoder().encode(JSON.stringify(config)));
  const targets = peft.targets();
  return [...modulesByName(shape)].flatMap(([name, linears]) => {
    if (!targets.includes(name)) return [];
    return [targetOf({ ...moduleOf(linears[0]!, shape), ...rankAndScaling(peft, name) })];
  });
}

function refuseHead(): never {
  return unsupportedAdapter('lm_head', 'is served, but not trained');
}

/** PEFT's initial values: A uniform within 1 / sqrt(in), which is kaiming_uniform with a = sqrt(5); B zero. */
function freshValues(targets: readonly TrainTarget[], shape: ModelShape, seed: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(parameterCount(shape, targets));
  const random = prng(seedFor(seed, purposes.init));
  for (const { a, size } of pairViews(values, shape, targets)) {
    const bound = 1 / Math.sqrt(size.in);
    for (let i = 0; i < a.length; i++) a[i] = (2 * random() - 1) * bound;
  }
  return values;
}

async function continued(
  files: AdapterFiles,
  settings: Hyperparameters,
  baseModel: string,
  shape: ModelShape,
): Promise<StartingPoint> {
  const [config, weights] = await Promise.all([readFile(files.config), readFile(files.weights)]);
  const [configHex, weightsHex] = [config, weights].map((bytes) => createHash('sha256').update(bytes).digest('hex'));
  proveDigest(files.digest, configHex!, weightsHex!);
  const header = parseSafetensorsHeader(weights, weights.length, 'adapter_invalid')!;
  const { pairs, usesDora, embedding } = readPeftAdapter(config, header, shape);
  if ((embedding.pair ?? embedding.tokens) !== null) unsupportedAdapter('embed_tokens', 'is served, but not trained');
  if (embedding.headTokens !== null) refuseHead();
  if (usesDora) unsupportedAdapter('use_dora', 'is served, but not trained');
  const wholes = [...Map.groupBy(pairs, (pair) => moduleName(moduleOf(pair, shape))).values()];
  const targets = wholes.map(([pair]) => targetOf({ ...pair!, ...moduleOf(pair!, shape) }));
  const values = new Float32Array(parameterCount(shape, targets));
  const read = (tensor: SafetensorsTensor) =>
    pairValues(tensor, weights.subarray(tensor.offset, tensor.offset + tensor.bytes));
  for (const [index, { a, b }] of pairViews(values, shape, targets).entries()) {
    const parts = wholes[index]!;
    a.set(read(parts[0]!.loraA));
    let row = 0;
    for (const { loraB } of parts) {
      const rows = read(loraB);
      b.set(rows, row);
      row += rows.length;
    }
  }
  const original = JSON.parse(config.toString()) as AdapterConfig;
  return { config: continuedConfig(original, settings, baseModel), targets, values };
}

/** PEFT's module of a linear: linears of fused rows are parts of one module. */
const moduleOf = ({ layer, module }: PeftModule, shape: ModelShape): NamedModule => ({
  layer,
  module: peftModuleOf(shape, module),
});

function targetOf({ layer, module, r, scaling }: NamedModule & Pick<TrainTarget, 'r' | 'scaling'>): TrainTarget {
  return layer === null ? refuseHead() : { layer, module, r, scaling };
}
