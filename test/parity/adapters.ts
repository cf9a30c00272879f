// Reads what PEFT says of adapters of every kind, as make-adapter-references.py wrote it, and the adapters' own files.

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AdapterFiles } from '../../src/core/adapter.ts';
import { adapterDigest } from '../../src/formats/adapter-digest.ts';
import { type Distribution, readDistributions, type StoredDistributions } from './references.ts';
import { type AdapterFolder, buildSeededAdapter, seededAdapters } from './seeded-adapter.ts';

/** One adapter, or several that apply at once, each multiplied by its scale. */
export type AdapterCase = {
  readonly name: string;
  readonly adapters: readonly { readonly name: string; readonly scale: number }[];
  readonly prompts: readonly AdapterPrompt[];
};

export type AdapterPrompt = {
  readonly kind: string;
  readonly tokens: readonly number[];
  /** The next tokens by argmax, end-of-sequence ignored, and how far the first logit led the second at each. */
  readonly greedy: readonly number[];
  readonly margins: readonly number[];
  /** How many of the greedy tokens follow the prompt where each distribution was taken; the first is 0. */
  readonly steps: readonly number[];
  readonly distributions: readonly Distribution[];
};

type Index = StoredDistributions & {
  readonly vocabulary: number;
  readonly steps: readonly number[];
  /** The seeded adapters, with the sha256 of both files that PEFT was given. */
  readonly adapters: readonly { readonly name: string; readonly config: string; readonly weights: string }[];
  readonly prompts: readonly { readonly kind: string; readonly tokens: readonly number[] }[];
  readonly cases: readonly {
    readonly name: string;
    readonly adapters: AdapterCase['adapters'];
    readonly continuations: readonly {
      readonly prompt: number;
      readonly row: number;
      readonly greedy: readonly number[];
      readonly margins: readonly number[];
    }[];
  }[];
};

const readIndex = (): Index =>
  JSON.parse(readFileSync(new URL('references/adapters.json', import.meta.url), 'utf8')) as Index;

export function readAdapterCases(): AdapterCase[] {
  const index = readIndex();
  const { steps, prompts } = index;
  const distribution = readDistributions('adapters', index);
  return index.cases.map(({ name, adapters, continuations }) => ({
    name,
    adapters,
    prompts: continuations.map(({ prompt, row, ...continuation }) => {
      return { ...prompts[prompt]!, ...continuation, steps, distributions: steps.map((_, i) => distribution(row + i)) };
    }),
  }));
}

export const readSeededDigests = () => readIndex().adapters;

/** The files of an adapter that a case names: seeded, or a trained example. */
export function adapterFolder(name: string): AdapterFolder {
  const seeded = seededAdapters.find((spec) => spec.name === name);
  if (seeded) return buildSeededAdapter(seeded);
  const read = (file: string) =>
    new Uint8Array(readFileSync(new URL(`../../adapters/${name}/${file}`, import.meta.url)));
  return { config: read('adapter_config.json'), weights: read('adapter_model.safetensors') };
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** The same, written under `root` as the engine opens it. */
export function writtenAdapter(name: string, root: string): AdapterFiles {
  const { config, weights } = adapterFolder(name);
  const folder = join(root, name);
  const files = { config: join(folder, 'adapter_config.json'), weights: join(folder, 'adapter_model.safetensors') };
  mkdirSync(folder, { recursive: true });
  writeFileSync(files.config, config);
  writeFileSync(files.weights, weights);
  return { ...files, digest: adapterDigest(sha256(config), sha256(weights)) };
}
