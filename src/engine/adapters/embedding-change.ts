// What adapters add to rows of the embedding, in memory: a low-rank product for every token, and differences for single
// tokens. Rows are looked up token by token where they are made; no run reads a whole matrix. The values stay float32,
// since they are few.

import { pairValues } from '../../formats/adapter-values.ts';
import { rowsOf } from '../../formats/peft-adapter.ts';
import type { EmbeddingPair, PeftEmbedding, TrainedTokens } from '../../formats/peft-embedding.ts';
import type { SafetensorsTensor } from '../../formats/safetensors.ts';
import { embeddingReader, type ReadRow } from '../../graph/dequantize-row.ts';
import type { LoweredModel } from '../../graph/lowered.ts';
import type { Breath } from './breath.ts';

export type EmbeddingChange = {
  readonly pair: {
    readonly r: number;
    /** [vocabulary, r] */
    readonly a: Float32Array<ArrayBuffer>;
    /** [r, hidden], multiplied by the pair's scaling. */
    readonly b: Float32Array<ArrayBuffer>;
  } | null;
  readonly tokens: {
    /** For each token, its row in `rows`. */
    readonly places: ReadonlyMap<number, number>;
    /** [tokens, hidden]: differences to the base's rows. */
    readonly rows: Float32Array<ArrayBuffer>;
  } | null;
};

/** One adapter's change with its scale. */
export type ScaledChange = { readonly change: EmbeddingChange; readonly scale: number };

type BytesOf = (tensor: SafetensorsTensor) => Uint8Array;
type Reading = { readonly model: LoweredModel; readonly breath: Breath };

/** null where the adapter leaves the embedding unchanged. */
export async function readEmbeddingChange(
  { pair, tokens }: PeftEmbedding,
  bytesOf: BytesOf,
  { model, breath }: Reading,
): Promise<EmbeddingChange | null> {
  if (pair === null && tokens === null) return null;
  return {
    pair: pair && (await readPair(pair, bytesOf, breath)),
    tokens: tokens && {
      places: new Map(tokens.ids.map((id, place) => [id, place])),
      rows: await differencesOf(tokens, bytesOf, embeddingReader(model), breath),
    },
  };
}

/** [tokens, hidden]: the adapter's rows less the base's. */
export async function differencesOf(
  { ids, rows }: TrainedTokens,
  bytesOf: BytesOf,
  read: ReadRow,
  breath: Breath,
): Promise<Float32Array<ArrayBuffer>> {
  const values = pairValues(rows, bytesOf(rows));
  const width = values.length / Math.max(1, ids.length);
  const own = new Float32Array(width);
  for (const [place, id] of ids.entries()) {
    read(id, own);
    for (let i = 0; i < width; i++) values[place * width + i]! -= own[i]!;
    await breath.take();
  }
  return values;
}

async function readPair({ r, scaling, loraA, loraB }: EmbeddingPair, bytesOf: BytesOf, breath: Breath) {
  const a = new Float32Array(r * loraA.shape[1]!);
  for (let rank = 0; rank < r; rank++) {
    const row = rowsOf(loraA, { first: rank, count: 1 });
    const values = pairValues(row, bytesOf(row));
    for (let token = 0; token < values.length; token++) a[token * r + rank] = values[token]!;
    await breath.take();
  }
  const source = pairValues(loraB, bytesOf(loraB));
  const hidden = source.length / r;
  const b = new Float32Array(source.length);
  for (let rank = 0; rank < r; rank++) {
    for (let i = 0; i < hidden; i++) b[rank * hidden + i] = scaling * source[i * r + rank]!;
  }
  return { r, a, b };
}

export const changeBytes = (changes: readonly ScaledChange[]): number =>
  changes.reduce((sum, { change: { pair, tokens } }) => {
    return sum + (pair ? pair.a.byteLength + pair.b.byteLength : 0) + (tokens?.rows.byteLength ?? 0);
  }, 0);

/** Whether the token's row differs from the base's. */
export const changesToken = (changes: readonly ScaledChange[], token: number): boolean =>
  changes.some(({ change: { pair, tokens } }) => pair !== null || tokens?.places.has(token));

/** Adds `scale` times the changes to the token's row. */
export function addChanges(changes: readonly ScaledChange[], scale: number, token: number, row: Float32Array): void {
  for (const { change, scale: own } of changes) {
    const { pair, tokens } = change;
    const place = tokens?.places.get(token);
    if (place !== undefined) addProduct(row, own * scale, tokens!.rows, place);
    for (let rank = 0; pair !== null && rank < pair.r; rank++) {
      addProduct(row, own * scale * pair.a[token * pair.r + rank]!, pair.b, rank);
    }
  }
}

/** Adds `factor` times row `index` of a matrix with the same width. */
function addProduct(row: Float32Array, factor: number, matrix: Float32Array, index: number): void {
  const first = index * row.length;
  for (let i = 0; i < row.length; i++) row[i]! += factor * matrix[first + i]!;
}
