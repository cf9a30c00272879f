// Reads the reference distributions that make-references.py wrote; knows the layout of its two files.

import { readFileSync } from 'node:fs';

/** The most likely tokens after a prefix, by the reference: parallel arrays, descending, and the mass of all others. */
export type Distribution = {
  readonly ids: Uint16Array;
  readonly logprobs: Float32Array;
  readonly tail: number;
};

export type ReferencePrompt = {
  readonly kind: string;
  readonly tokens: readonly number[];
  /** Where distributions were taken: after tokens[0..position]. */
  readonly positions: readonly number[];
  /** One for each position. */
  readonly distributions: readonly Distribution[];
  /** The next tokens by argmax, end-of-sequence ignored, and how far the first logit led the second at each. */
  readonly greedy: readonly number[];
  readonly margins: readonly number[];
};

/** What an index says of the distributions in the file beside it: how many, and of how many tokens each. */
export type StoredDistributions = { readonly top: number; readonly rows: number };

type Index = StoredDistributions & {
  readonly vocabulary: number;
  readonly prompts: readonly (Omit<ReferencePrompt, 'distributions'> & { readonly row: number })[];
};

export type References = { readonly vocabulary: number; readonly prompts: readonly ReferencePrompt[] };

const folder = new URL('references/', import.meta.url);

export function readReferences(name = 'smollm2'): References {
  const index = JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8')) as Index;
  const distribution = readDistributions(name, index);
  const prompts = index.prompts.map(({ row, ...prompt }) => ({
    ...prompt,
    distributions: prompt.positions.map((_, i) => distribution(row + i)),
  }));
  return { vocabulary: index.vocabulary, prompts };
}

/** Distributions by row. */
export function readDistributions(name: string, { top, rows }: StoredDistributions): (row: number) => Distribution {
  // A fresh ArrayBuffer: a Buffer from the pool may start at an odd address.
  const { buffer } = new Uint8Array(readFileSync(new URL(`${name}.bin`, folder)));
  const logprobs = new Float32Array(buffer, 0, rows * top);
  const tails = new Float32Array(buffer, logprobs.byteLength, rows);
  const ids = new Uint16Array(buffer, logprobs.byteLength + tails.byteLength, rows * top);
  return (row) => ({
    ids: ids.subarray(row * top, (row + 1) * top),
    logprobs: logprobs.subarray(row * top, (row + 1) * top),
    tail: tails[row]!,
  });
}
