// An adapter's files -> its pairs and their numbers, in a process that has nothing else to do. What the bytes are is
// proved by the digest under which the server holds them.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { AdapterFiles } from '../core/adapter.ts';
import type { ModelShape } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';
import { adapterDigest } from '../formats/adapter-digest.ts';
import { pairValues } from '../formats/adapter-values.ts';
import { type AdapterPair, type PeftAdapter, readPeftAdapter } from '../formats/peft-adapter.ts';
import { moduleName } from '../formats/peft-modules.ts';
import { parseSafetensorsHeader, type SafetensorsTensor } from '../formats/safetensors.ts';

/** One linear's part of an adapter, in numbers. */
export type PairValues = Pick<AdapterPair, 'layer' | 'module' | 'r' | 'scaling'> & {
  /** [r, in] */
  readonly a: Float32Array;
  /** [out, r] */
  readonly b: Float32Array;
  /** [out]; null without DoRA. */
  readonly magnitude: Float32Array | null;
};

export type OpenAdapter = Pick<PeftAdapter, 'usesDora'> & {
  /** By the name of the weight that they adapt, `model.layers.0.self_attn.q_proj.weight`; in the adapter's order. */
  readonly pairs: ReadonlyMap<string, AdapterPair>;
  values(pair: AdapterPair): PairValues;
};

/** An adapter on lm_head leaves the embedding alone, so the two cannot share their weights any more. */
export const untiesHead = ({ pairs }: OpenAdapter, { tiedEmbedding }: ModelShape): boolean =>
  tiedEmbedding && pairs.has('lm_head.weight');

/** Throws `adapter_corrupt` where the files are missing or are not what the digest says. */
export function readAdapter(files: AdapterFiles, shape: ModelShape): OpenAdapter {
  const [config, weights] = readProved(files);
  const { pairs, usesDora } = readPeftAdapter(config, parseSafetensorsHeader(weights, weights.length)!, shape);
  const values = (tensor: SafetensorsTensor) =>
    pairValues(tensor, weights.subarray(tensor.offset, tensor.offset + tensor.bytes));
  return {
    usesDora,
    pairs: new Map(pairs.map((pair) => [`${moduleName(pair)}.weight`, pair])),
    values: ({ layer, module, r, scaling, loraA, loraB, magnitude }) => ({
      ...{ layer, module, r, scaling },
      a: values(loraA),
      b: values(loraB),
      magnitude: magnitude === null ? null : values(magnitude),
    }),
  };
}

function readProved(files: AdapterFiles): [Buffer, Buffer] {
  const corrupt = (reason: string, cause?: unknown) =>
    new LorikeetError('adapter_corrupt', { message: `The adapter ${files.digest} is damaged: ${reason}.`, cause });
  let contents: [Buffer, Buffer];
  try {
    contents = [readFileSync(files.config), readFileSync(files.weights)];
  } catch (error) {
    throw corrupt(`its files cannot be read (${(error as NodeJS.ErrnoException).code})`, error);
  }
  const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
  if (adapterDigest(sha256(contents[0]), sha256(contents[1])) !== files.digest) {
    throw corrupt('its bytes have another digest');
  }
  return contents;
}
