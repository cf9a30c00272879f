// Reads an adapter from PEFT's two files. The tensors decide what the adapter contains, and the config must agree with
// every pair. Reads headers only: values are checked in adapter-values.ts.

import { linearSize, type TargetModule, targetModules } from '../core/adapter.ts';
import type { ModelShape } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { type PeftConfig, parsePeftConfig, rankAndScaling } from './peft-config.ts';
import { type ModuleParts, type PeftEmbedding, readEmbedding } from './peft-embedding.ts';
import { embeddingModule, modulesByName, type PartName, type PeftModule, tensorName } from './peft-modules.ts';
import { parseTensorName, type TensorName } from './peft-names.ts';
import { type PeftTargets, suffixes } from './peft-targets.ts';
import { invalidAdapter, shorten, unsupportedAdapter, weightsFile } from './refuse-adapter.ts';
import type { SafetensorsFile, SafetensorsTensor } from './safetensors.ts';
import { elementCount } from './tensor-bytes.ts';

/**
 * A pair, which adds scaling * B A to a linear. With DoRA each output row is then scaled to the length given by
 * `magnitude`.
 */
export type AdapterPair = {
  /** null for lm_head. */
  readonly layer: number | null;
  readonly module: TargetModule;
  readonly r: number;
  /** alpha / r, or alpha / sqrt(r) with rsLoRA. */
  readonly scaling: number;
  /** [r, in] */
  readonly loraA: SafetensorsTensor;
  /** [out, r] */
  readonly loraB: SafetensorsTensor;
  /** [out] or [out, 1]; null without DoRA. */
  readonly magnitude: SafetensorsTensor | null;
};

export type PeftAdapter = {
  /** Pairs by layer, within a layer in the order of `targetModules`, lm_head last. */
  readonly pairs: readonly AdapterPair[];
  readonly embedding: PeftEmbedding;
  /** Largest rank; 0 where there is no pair. */
  readonly r: number;
  /** Largest rank of one linear. In the head each trained token counts as one rank. */
  readonly linearRanks: number;
  /** Numbers in all tensors together. */
  readonly parameters: number;
  /** Adapted modules, the embedding last, as `embed_tokens`. */
  readonly targetModules: readonly string[];
  readonly usesDora: boolean;
  readonly warnings: readonly string[];
};

/**
 * Reads an adapter. The tensors decide what is adapted. The config says what they mean; its list of modules is only
 * compared with them. `baseName` is compared with the config's base_model_name_or_path, for a warning. Throws
 * `adapter_invalid`, `adapter_unsupported`.
 */
export function readPeftAdapter(
  config: Uint8Array,
  weights: SafetensorsFile,
  shape: ModelShape,
  baseName: string | null = null,
): PeftAdapter {
  const peft = parsePeftConfig(config);
  const modules = modulesByName(shape);
  const { found, copies } = collectParts(peft, weights.tensors, modules, shape);
  if (found.size === 0) invalidAdapter(weightsFile, peft.type === 'LORA' ? 'has no pair' : 'has no trained tokens');
  const paired = [...modules].filter(([name]) => isPaired(found.get(name) ?? {}));
  const pairs = paired.flatMap(([name, linears]) => readPairs(peft, shape, name, linears, found.get(name)!));
  const embedding = readEmbedding(peft, found, shape, checkShape);
  const inHead = ranksInHead(pairs, embedding);
  const touches = (module: TargetModule) =>
    pairs.some((pair) => pair.module === module) || (module === 'lm_head' && embedding.headTokens !== null);
  const touchesEmbedding = embedding.pair !== null || embedding.tokens !== null;
  return {
    ...{ pairs, embedding },
    r: Math.max(0, ...pairs.map(({ r }) => r), embedding.pair?.r ?? 0),
    linearRanks: Math.max(inHead, ...pairs.map(({ r }) => r)),
    parameters: [...found.values()]
      .flatMap((parts) => Object.values(parts))
      .reduce((sum, tensor) => sum + elementCount(tensor.shape)!, 0),
    targetModules: [...targetModules.filter(touches), ...(touchesEmbedding ? ['embed_tokens'] : [])],
    usesDora: peft.useDora,
    warnings: [
      ...peft.warnings,
      ...copyWarnings(copies),
      ...(peft.type === 'LORA' ? targetWarnings(peft, [...modules.keys(), embeddingModule], pairsIn(found)) : []),
      ...warningsOf(peft, [...pairsIn(found)], baseName),
    ],
  };
}

const isPaired = ({ loraA, loraB, magnitude, embeddingA }: ModuleParts): boolean =>
  [loraA, loraB, magnitude, embeddingA].some((tensor) => tensor !== undefined);

const pairsIn = (found: ReadonlyMap<string, ModuleParts>): Set<string> =>
  new Set([...found].filter(([, parts]) => isPaired(parts)).map(([name]) => name));

/**
 * Counts the head's ranks. Rows of single tokens are a low-rank product too: the difference to the base's row, at the
 * token's place.
 */
function ranksInHead(pairs: readonly AdapterPair[], { headTokens }: PeftEmbedding): number {
  if (headTokens === null) return 0;
  const pair = pairs.find(({ layer }) => layer === null);
  if (pair?.magnitude) unsupportedAdapter(headTokens.rows.name, 'stands beside DoRA on the head');
  const ranks = headTokens.ids.length + (pair?.r ?? 0);
  if (ranks > limits.adapterRank) {
    unsupportedAdapter(headTokens.rows.name, `makes ${ranks} ranks of the head; the limit is ${limits.adapterRank}`);
  }
  return ranks;
}

type Collected = { readonly found: Map<string, ModuleParts>; readonly copies: readonly SafetensorsTensor[] };

/**
 * Groups tensors by module. Refuses tensors that belong to no pair and are no frozen copy, and parts that occur twice.
 */
function collectParts(
  peft: PeftConfig,
  tensors: readonly SafetensorsTensor[],
  modules: ReadonlyMap<string, unknown>,
  shape: ModelShape,
): Collected {
  const found = new Map<string, ModuleParts>();
  const copies: SafetensorsTensor[] = [];
  const spelling = sameSpelling();
  for (const tensor of tensors) {
    const name = parseTensorName(tensor.name);
    spelling(tensor.name, name);
    if (name.kind === 'copy') {
      checkCopy(tensor, name.module, shape);
      copies.push(tensor);
      continue;
    }
    if (!takes(modules, name)) invalidAdapter(tensor.name, 'belongs to no linear of this base model');
    if (peft.type === 'TRAINABLE_TOKENS' && name.part !== 'tokens') {
      invalidAdapter(tensor.name, 'is of LoRA, and peft_type is TRAINABLE_TOKENS');
    }
    if (!['F32', 'F16', 'BF16'].includes(tensor.type)) {
      unsupportedAdapter(tensor.name, `is of type ${tensor.type}; F32, F16 and BF16 are read`);
    }
    const parts = found.get(name.module) ?? {};
    const first = parts[name.part];
    if (first) invalidAdapter(tensor.name, `is there twice, also as ${shorten(first.name)}`);
    parts[name.part] = tensor;
    found.set(name.module, parts);
  }
  return { found, copies };
}

function takes(modules: ReadonlyMap<string, unknown>, { module, part }: { module: string; part: PartName }): boolean {
  if (module === embeddingModule) return ['embeddingA', 'embeddingB', 'magnitude', 'tokens'].includes(part);
  if (part === 'tokens') return module === 'lm_head';
  return modules.has(module) && !['embeddingA', 'embeddingB'].includes(part);
}

/**
 * Refuses a file with names of two adapters or with two spellings of names: a file has one adapter, written by one
 * program.
 */
function sameSpelling(): (name: string, spelling: TensorName) => void {
  let adapter: string | null = null;
  let prefix: boolean | null = null;
  return (name, spelling) => {
    prefix ??= spelling.hasPrefix;
    if (spelling.hasPrefix !== prefix) {
      const rest = prefix
        ? 'has no "base_model.model." before it, as the others have'
        : 'has a prefix that others lack';
      invalidAdapter(name, rest);
    }
    if (spelling.kind !== 'part') return;
    adapter ??= spelling.adapter;
    if (spelling.adapter === adapter) return;
    invalidAdapter(name, `is of the adapter "${shorten(spelling.adapter)}", others are of "${shorten(adapter)}"`);
  };
}

/** Checks a frozen copy. Under LoRA it equals the base's weight, unless the vocabulary was resized. */
function checkCopy({ name, type, shape: found }: SafetensorsTensor, module: string, shape: ModelShape): void {
  const isVocabulary = module === 'lm_head' || module.endsWith('embed_tokens');
  if (!isVocabulary || !/^B?F\d/.test(type) || found.length !== 2) return;
  checkVocabulary(name, found[0]!, shape);
  if (found[1] !== shape.hidden) checkFit(name, found, [shape.vocabulary, shape.hidden]);
}

function checkVocabulary(name: string, rows: number, { vocabulary }: ModelShape): void {
  if (rows === vocabulary) return;
  const difference = Math.abs(rows - vocabulary);
  const change = rows > vocabulary ? `${difference} tokens more` : `${difference} tokens fewer`;
  unsupportedAdapter(
    name,
    `is for a resized vocabulary: ${rows} tokens, ${change} than the base model's ${vocabulary}`,
  );
}

/** Reads a module's pairs, one for each of its linears. They share A, and each has its own rows of B. */
function readPairs(
  peft: PeftConfig,
  shape: ModelShape,
  name: string,
  linears: readonly PeftModule[],
  parts: ModuleParts,
): AdapterPair[] {
  const need = (part: PartName) => parts[part] ?? invalidAdapter(tensorName(name, part), 'is missing');
  const loraA = need('loraA');
  const loraB = need('loraB');
  const magnitude = peft.useDora ? need('magnitude') : (parts.magnitude ?? null);
  if (magnitude !== null && !peft.useDora) invalidAdapter(magnitude.name, 'is there, but use_dora is not set');
  const sizes = linears.map(({ module }) => linearSize(shape, module));
  const out = sizes.reduce((sum, size) => sum + size.out, 0);
  const { r, scaling } = rankAndScaling(peft, name);
  if (name === 'lm_head' && loraB.shape.length === 2) checkVocabulary(loraB.name, loraB.shape[0]!, shape);
  checkShape(loraA, [r, sizes[0]!.in]);
  checkShape(loraB, [out, r]);
  if (magnitude !== null) checkShape(magnitude, magnitude.shape.length === 2 ? [out, 1] : [out]);
  let first = 0;
  return linears.map((linear, i) => {
    const rows = { first, count: sizes[i]!.out };
    first += rows.count;
    const ofMagnitude = magnitude && rowsOf(magnitude, rows);
    return { ...linear, r, scaling, loraA, loraB: rowsOf(loraB, rows), magnitude: ofMagnitude };
  });
}

export function rowsOf(
  tensor: SafetensorsTensor,
  { first, count }: { readonly first: number; readonly count: number },
): SafetensorsTensor {
  const [out, ...width] = tensor.shape as [number, ...number[]];
  const rowBytes = tensor.bytes / out;
  const offset = tensor.offset + first * rowBytes;
  return { ...tensor, shape: [count, ...width], offset, bytes: count * rowBytes };
}

function checkShape({ name, shape }: SafetensorsTensor, expected: readonly number[]): void {
  if (shape.length === expected.length && shape.every((size, index) => size === expected[index])) return;
  checkFit(name, shape, expected);
}

function checkFit(name: string, shape: readonly number[], expected: readonly number[]): never {
  return invalidAdapter(name, `is [${shape.slice(0, 4)}]; the config and the base model need [${expected}]`);
}

const list = (names: readonly string[]) => {
  const shown = names.slice(0, 5).map((name) => `"${shorten(name)}"`);
  return `${shown.join(', ')}${names.length > shown.length ? ', ...' : ''}`;
};

function copyWarnings(copies: readonly SafetensorsTensor[]): string[] {
  if (copies.length === 0) return [];
  const names = copies.map(({ name }) => name);
  return [`Frozen copies of the base model's own weights were left out: ${list(names)}.`];
}

/** Warns where target_modules and the fields beside it disagree with the tensors, which decide. */
function targetWarnings(peft: PeftConfig, modules: readonly string[], paired: ReadonlySet<string>): string[] {
  let targets: PeftTargets;
  try {
    targets = peft.targets();
  } catch (error) {
    if (!(error instanceof LorikeetError)) throw error;
    return [`The config's list of modules was not compared with the tensors, which decide. ${error.message}`];
  }
  const { entries, includes } = targets;
  const targeted = modules.filter(includes);
  const withEntry = (names: Iterable<string>) => new Set([...names].flatMap((name) => [name, ...suffixes(name)]));
  const [meansSome, meansTargeted, meansPaired] = [withEntry(modules), withEntry(targeted), withEntry(paired)];
  const lost = entries.filter(
    (entry) => !meansPaired.has(entry) && (meansTargeted.has(entry) || !meansSome.has(entry)),
  );
  const untouched = targeted.filter((name) => !paired.has(name)).length;
  const extra = [...paired].filter((name) => !includes(name));
  const found: string[] = [];
  if (lost.length > 0) found.push(`target_modules names ${list(lost)}, for which there are no tensors.`);
  if (untouched > 0) found.push(`The config targets ${untouched} modules that have no tensors; they stay as they are.`);
  if (extra.length > 0) {
    found.push(
      `${extra.length} modules have tensors that the config does not target; they are applied: ${list(extra)}.`,
    );
  }
  return found;
}

function warningsOf(peft: PeftConfig, paired: readonly string[], baseName: string | null): string[] {
  const found: string[] = [];
  for (const [field, entries] of [
    ['rank_pattern', peft.rankPattern],
    ['alpha_pattern', peft.alphaPattern],
  ] as const) {
    const idle = entries.filter(({ matches }) => !paired.some(matches)).map(({ key }) => key);
    if (idle.length > 0) found.push(`${idle.length} keys of ${field} match no module, as ${list(idle)}.`);
  }
  return [...found, ...otherBaseWarnings(peft.baseModel, baseName)];
}

export function otherBaseWarnings(made: string | null, runs: string | null): string[] {
  if (made === null || runs === null || lastPart(made) === lastPart(runs)) return [];
  return [`The adapter was made for "${shorten(made)}"; the base model here is "${shorten(runs)}".`];
}

/** Takes the last part of a name: the same model may lie in different repositories and folders. */
const lastPart = (name: string) => name.split(/[/\\]/).filter(Boolean).at(-1)?.toLowerCase();
