// Reads what a PEFT adapter changes in the embedding, and in the head's rows for single tokens: LoRA on embed_tokens,
// and trained tokens (trainable_token_indices, TRAINABLE_TOKENS). A trained token's row replaces the base's row; PEFT
// calls it a delta, which it is not. A head tied to the embedding gets the same trained rows, but LoRA on embed_tokens
// leaves the head unchanged, as in PEFT. Reads headers only.

import type { ModelShape } from '../core/base-model.ts';
import { type PeftConfig, rankAndScaling } from './peft-config.ts';
import { embeddingModule, type PartName, tensorName } from './peft-modules.ts';
import { suffixes } from './peft-targets.ts';
import { invalidAdapter, unsupportedAdapter } from './refuse-adapter.ts';
import type { SafetensorsTensor } from './safetensors.ts';

/** Adds scaling * B A[:, token] to a token's embedding. */
export type EmbeddingPair = {
  readonly r: number;
  readonly scaling: number;
  /** [r, vocabulary] */
  readonly loraA: SafetensorsTensor;
  /** [hidden, r] */
  readonly loraB: SafetensorsTensor;
};

export type TrainedTokens = {
  readonly ids: readonly number[];
  /** [ids, hidden]: rows that replace the base's. */
  readonly rows: SafetensorsTensor;
};

export type PeftEmbedding = {
  readonly pair: EmbeddingPair | null;
  readonly tokens: TrainedTokens | null;
  readonly headTokens: TrainedTokens | null;
};

/** Tensors of one module in the file. */
export type ModuleParts = Partial<Record<PartName, SafetensorsTensor>>;
type CheckShape = (tensor: SafetensorsTensor, expected: readonly number[]) => void;

/** @param found tensors by module */
export function readEmbedding(
  peft: PeftConfig,
  found: ReadonlyMap<string, ModuleParts>,
  shape: ModelShape,
  checkShape: CheckShape,
): PeftEmbedding {
  const ofEmbedding = found.get(embeddingModule) ?? {};
  const tokensOf = (module: string) => readTokens(peft, module, found.get(module)?.tokens, shape, checkShape);
  const pair = readPair(peft, ofEmbedding, shape, checkShape);
  const tokens = tokensOf(embeddingModule);
  if (pair !== null && tokens !== null) {
    invalidAdapter(tokens.rows.name, 'stands beside a pair of LoRA, which PEFT never has on one embedding');
  }
  for (const module of peft.tokens.keys()) assertHas(module, found, shape);
  const ofHead = tokensOf('lm_head');
  // TRAINABLE_TOKENS adapters save the tied rows twice.
  const follows = shape.tiedEmbedding && tokens !== null && (ofHead === null || peft.type === 'TRAINABLE_TOKENS');
  return { pair, tokens, headTokens: follows ? tokens : ofHead };
}

function readPair(
  peft: PeftConfig,
  parts: ModuleParts,
  shape: ModelShape,
  checkShape: CheckShape,
): EmbeddingPair | null {
  const { embeddingA: loraA, embeddingB: loraB, magnitude } = parts;
  if (magnitude !== undefined) unsupportedAdapter(magnitude.name, 'is of DoRA on an embedding');
  if (loraA === undefined && loraB === undefined) return null;
  if (loraA === undefined) return invalidAdapter(tensorName(embeddingModule, 'embeddingA'), 'is missing');
  if (loraB === undefined) return invalidAdapter(tensorName(embeddingModule, 'embeddingB'), 'is missing');
  if (peft.useDora) unsupportedAdapter(loraA.name, 'is of DoRA on an embedding');
  const { r, scaling } = rankAndScaling(peft, embeddingModule);
  const [, vocabulary] = loraA.shape;
  if (loraA.shape.length === 2 && vocabulary !== shape.vocabulary) {
    const sizes = `${vocabulary} tokens, and the base model has ${shape.vocabulary}`;
    unsupportedAdapter(loraA.name, `is for a resized vocabulary: ${sizes}`);
  }
  checkShape(loraA, [r, shape.vocabulary]);
  checkShape(loraB, [shape.hidden, r]);
  return { r, scaling, loraA, loraB };
}

function readTokens(
  peft: PeftConfig,
  module: string,
  rows: SafetensorsTensor | undefined,
  shape: ModelShape,
  checkShape: CheckShape,
): TrainedTokens | null {
  if (rows === undefined) return null;
  const name = [null, module, ...suffixes(module)].find((name) => peft.tokens.has(name));
  if (name === undefined) return invalidAdapter(rows.name, 'has rows, and the config does not say of which tokens');
  const ids = peft.tokens.get(name)!;
  const beyond = ids.find((id) => id >= shape.vocabulary);
  if (beyond !== undefined) {
    unsupportedAdapter(rows.name, `is for token ${beyond}; the base model has ${shape.vocabulary} tokens`);
  }
  checkShape(rows, [ids.length, shape.hidden]);
  return { ids, rows };
}

/** Throws where the tokens' rows are missing. A tied head with the embedding's tokens is left out of the file. */
function assertHas(name: string | null, found: ReadonlyMap<string, ModuleParts>, { tiedEmbedding }: ModelShape): void {
  const has = (module: string) => found.get(module)?.tokens !== undefined;
  const means = (module: string) => name === null || name === module || suffixes(module).includes(name);
  const isEmbedding = means(embeddingModule);
  if (!isEmbedding && !means('lm_head')) unsupportedAdapter(name!, 'is no module whose tokens can be trained here');
  if (has(isEmbedding ? embeddingModule : 'lm_head')) return;
  if (name === null ? has('lm_head') : !isEmbedding && tiedEmbedding && has(embeddingModule)) return;
  invalidAdapter(tensorName(isEmbedding ? embeddingModule : 'lm_head', 'tokens'), 'is missing');
}
