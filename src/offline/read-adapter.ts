// Reads an adapter's files as pairs with their values. The bytes are verified against the digest under which the server
// keeps them.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { AdapterFiles } from '../core/adapter.ts';
import type { ModelShape } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';
import { adapterDigest } from '../formats/adapter-digest.ts';
import { pairValues } from '../formats/adapter-values.ts';
import { type AdapterPair, type PeftAdapter, readPeftAdapter } from '../formats/peft-adapter.ts';
import type { EmbeddingPair, TrainedTokens } from '../formats/peft-embedding.ts';
import { embeddingModule, moduleName } from '../formats/peft-modules.ts';
import { parseSafetensorsHeader, type SafetensorsTensor } from '../formats/safetensors.ts';

/** The values of an adapter's change to one weight. */
export type WeightChange = Pick<AdapterPair, 'r' | 'scaling'> & {
  /** [r, in] */
  readonly a: Float32Array;
  /** [out, r] */
  readonly b: Float32Array;
  /** [out]; null without DoRA. */
  readonly magnitude: Float32Array | null;
  /** Trained rows [in] by row number, which replace the base's; null without trained tokens. */
  readonly rows: ReadonlyMap<number, Float32Array> | null;
};

/** An adapter's values for one linear. */
export type PairValues = Pick<AdapterPair, 'layer' | 'module'> & WeightChange;

export type OpenAdapter = Pick<PeftAdapter, 'usesDora'> & {
  /**
   * Pairs by the name of the weight that they adapt, `model.layers.0.self_attn.q_proj.weight`, in the adapter's order.
   */
  readonly pairs: ReadonlyMap<string, AdapterPair>;
  values(pair: AdapterPair): PairValues;
  /** Changes of every weight, the embedding and rows of the head included. */
  readonly changes: ReadonlyMap<string, () => WeightChange>;
  /** The embedding and a head that was tied to it no longer have the same rows. */
  readonly untiesHead: boolean;
};

const headWeight = 'lm_head.weight';
const embeddingWeight = `${embeddingModule}.weight`;

/** Reads the adapter. Throws `adapter_corrupt` where the files are missing or do not have the digest. */
export function readAdapter(files: AdapterFiles, shape: ModelShape): OpenAdapter {
  const [config, weights] = readProved(files);
  const header = parseSafetensorsHeader(weights, weights.length)!;
  const { pairs: all, usesDora, embedding } = readPeftAdapter(config, header, shape);
  const values = (tensor: SafetensorsTensor) =>
    pairValues(tensor, weights.subarray(tensor.offset, tensor.offset + tensor.bytes));
  const ofPair = ({ layer, module, r, scaling, loraA, loraB, magnitude }: AdapterPair): PairValues => ({
    ...{ layer, module, r, scaling },
    a: values(loraA),
    b: values(loraB),
    magnitude: magnitude === null ? null : values(magnitude),
    rows: null,
  });
  const pairs = new Map(all.map((pair) => [`${moduleName(pair)}.weight`, pair]));
  const changes = new Map([...pairs].map(([weight, pair]) => [weight, (): WeightChange => ofPair(pair)]));
  const { pair, tokens, headTokens } = embedding;
  if ((pair ?? tokens) !== null) {
    changes.set(embeddingWeight, () => ({
      ...(pair === null ? noPair : transposed(pair, values)),
      rows: tokens && rowsOf(tokens, values),
    }));
  }
  if (headTokens !== null) {
    const beside = changes.get(headWeight);
    changes.set(headWeight, () => ({ ...(beside?.() ?? noPair), rows: rowsOf(headTokens, values) }));
  }
  // Trained tokens alone change the embedding and the tied head in the same way.
  const follows = pair === null && !pairs.has(headWeight) && tokens === headTokens;
  return { usesDora, pairs, values: ofPair, changes, untiesHead: shape.tiedEmbedding && !follows };
}

type ValuesOf = (tensor: SafetensorsTensor) => Float32Array;

const noPair = { r: 0, scaling: 0, a: new Float32Array(), b: new Float32Array(), magnitude: null, rows: null };

/** Transposes PEFT's two matrices, since the embedding is [vocabulary, hidden]. */
function transposed({ r, scaling, loraA, loraB }: EmbeddingPair, values: ValuesOf): WeightChange {
  const turned = (source: Float32Array, columns: number) => {
    const rows = source.length / columns;
    return Float32Array.from(source, (_, i) => source[(i % rows) * columns + Math.floor(i / rows)]!);
  };
  const [a, b] = [turned(values(loraB), r), turned(values(loraA), loraA.shape[1]!)];
  return { ...noPair, r, scaling, a, b };
}

function rowsOf({ ids, rows }: TrainedTokens, values: ValuesOf): Map<number, Float32Array> {
  const all = values(rows);
  const width = rows.shape[1]!;
  return new Map(ids.map((id, place) => [id, all.subarray(place * width, (place + 1) * width)]));
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
