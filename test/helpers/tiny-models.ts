// The tiny random models under test/fixtures/tiny with transformers' references; make-tiny-models.py made them.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const tinyModels = ['llama', 'llama3-sharded', 'llama-gguf', 'qwen2', 'qwen3'] as const;
/** Models under test/fixtures/families, made by make-family-models.py: each has what sets its family apart. */
export const familyModels = ['mistral', 'qwen2-window', 'smollm3', 'granite', 'phi3', 'gemma2', 'gemma3'] as const;
export type TinyModel = (typeof tinyModels)[number] | (typeof familyModels)[number];

export type TinyPrompt = {
  readonly tokens: readonly number[];
  /** Positions whose logits are stored: all of a short prompt, the last of a long one. */
  readonly positions: readonly number[];
  /** [vocabulary] for each position. */
  readonly logits: readonly Float32Array[];
  /** The next 24 tokens by argmax, end-of-sequence ignored, and how far the first logit led the second at each. */
  readonly greedy: readonly number[];
  readonly margins: readonly number[];
};

type Index = {
  readonly vocabulary: number;
  readonly prompts: readonly (Omit<TinyPrompt, 'logits'> & { readonly offset: number })[];
};

const isFamily = (model: TinyModel) => (familyModels as readonly TinyModel[]).includes(model);

const url = (model: TinyModel, file: string) =>
  new URL(`../fixtures/${isFamily(model) ? 'families' : 'tiny'}/${model}/${file}`, import.meta.url);

/** The path that a user would pass as the model: a folder, or the GGUF file. */
export function tinyModelPath(model: TinyModel): string {
  return fileURLToPath(url(model, model === 'llama-gguf' ? 'tiny-llama.gguf' : '.'));
}

export function tinyReferences(model: TinyModel): { vocabulary: number; prompts: readonly TinyPrompt[] } {
  const index = JSON.parse(readFileSync(url(model, 'references.json'), 'utf8')) as Index;
  // Copied into a new ArrayBuffer: a Buffer from the pool may start at an odd address.
  const floats = new Float32Array(new Uint8Array(readFileSync(url(model, 'references.bin'))).buffer);
  const row = (start: number) => floats.subarray(start, start + index.vocabulary);
  const prompts = index.prompts.map(({ offset, ...prompt }) => ({
    ...prompt,
    logits: prompt.positions.map((_, i) => row(offset + i * index.vocabulary)),
  }));
  return { vocabulary: index.vocabulary, prompts };
}
