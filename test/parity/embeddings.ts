// What transformers and PEFT give as vectors of texts, as make-embedding-references.py wrote it.

import { readFileSync } from 'node:fs';
import type { Pooling } from '../../src/core/pooling.ts';

type Index<C> = { readonly texts: readonly (readonly number[])[]; readonly cases: readonly C[] };

export type TextVectors = { readonly tokens: readonly number[] } & Readonly<Record<Pooling, Float32Array>>;

const folder = new URL('references/', import.meta.url);

/** Every case with what it gives for each text. */
export function readEmbeddings<C extends object, I extends object = object>(
  name: string,
): I & { readonly cases: readonly (C & { readonly texts: readonly TextVectors[] })[] } {
  const index = JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8')) as Index<C> & I;
  const { buffer } = new Uint8Array(readFileSync(new URL(`${name}.bin`, folder)));
  const vectors = new Float32Array(buffer);
  const { texts } = index;
  const width = vectors.length / (2 * texts.length * index.cases.length);
  const vector = (row: number) => vectors.subarray(row * width, (row + 1) * width);
  const cases = index.cases.map((one, i) => ({
    ...one,
    texts: texts.map((tokens, t): TextVectors => {
      const row = 2 * (i * texts.length + t);
      return { tokens, mean: vector(row), last: vector(row + 1) };
    }),
  }));
  return { ...index, cases };
}

/** 1 - cosine, of vectors of length 1. */
export const distance = (a: Float32Array, b: Float32Array): number =>
  1 - a.reduce((sum, value, i) => sum + value * b[i]!, 0);
