// An adapter from PEFT's two files. The tensors decide what there is; the config must agree with them in every pair.
// Reads headers only: values are checked in adapter-values.ts.

import { linearSize, type TargetModule, targetModules } from '../core/adapter.ts';
import type { ModelShape } from '../core/base-model.ts';
import { type PeftConfig, parsePeftConfig, rankAndScaling } from './peft-config.ts';
import { modulesByName, type PartName, type PeftModule, parseTensorName, tensorName } from './peft-modules.ts';
import { suffixes } from './peft-targets.ts';
import { invalidAdapter, shorten, unsupportedAdapter, weightsFile } from './refuse-adapter.ts';
import type { SafetensorsFile, SafetensorsTensor } from './safetensors.ts';
import { elementCount } from './tensor-bytes.ts';

/** Adds scaling * B A to a linear; with DoRA, each output row is then scaled to the length that `magnitude` says. */
export type AdapterPair = {
  /** null for lm_head. */
  readonly layer: number | null;
  readonly module: TargetModule;
  readonly r: number;
  /** alpha / r, or alpha / sqrt(r). */
  readonly scaling: number;
  /** [r, in] */
  readonly loraA: SafetensorsTensor;
  /** [out, r] */
  readonly loraB: SafetensorsTensor;
  /** [out] or [out, 1]; null without DoRA. */
  readonly magnitude: SafetensorsTensor | null;
};

export type PeftAdapter = {
  /** By layer, within a layer in the order of `targetModules`, lm_head last. */
  readonly pairs: readonly AdapterPair[];
  /** The largest rank. */
  readonly r: number;
  /** Numbers in all tensors together. */
  readonly parameters: number;
  readonly targetModules: readonly TargetModule[];
  readonly usesDora: boolean;
  readonly warnings: readonly string[];
};

type Parts = Partial<Record<PartName, SafetensorsTensor>>;

/** `baseName` is compared with the config's base_model_name_or_path, for a warning. Throws `adapter_...`. */
export function readPeftAdapter(
  config: Uint8Array,
  weights: SafetensorsFile,
  shape: ModelShape,
  baseName: string | null = null,
): PeftAdapter {
  const peft = parsePeftConfig(config);
  const modules = modulesByName(shape);
  const found = collectParts(weights.tensors, modules);
  if (found.size === 0) invalidAdapter(weightsFile, 'has no pair');
  const paired = [...modules].filter(([name]) => found.has(name));
  const pairs = paired.map(([name, module]) => readPair(peft, shape, name, module, found.get(name)!));
  const untouched = checkTargets(peft, [...modules.keys()], new Set(found.keys()));
  return {
    pairs,
    r: Math.max(...pairs.map(({ r }) => r)),
    parameters: weights.tensors.reduce((sum, tensor) => sum + elementCount(tensor.shape)!, 0),
    targetModules: targetModules.filter((module) => pairs.some((pair) => pair.module === module)),
    usesDora: peft.useDora,
    warnings: [...peft.warnings, ...warningsOf(peft, [...found.keys()], untouched, baseName)],
  };
}

/** Tensors by module name. Refuses what is no tensor of a pair, and a part that is there in both spellings. */
function collectParts(
  tensors: readonly SafetensorsTensor[],
  modules: ReadonlyMap<string, PeftModule>,
): Map<string, Parts> {
  const found = new Map<string, Parts>();
  for (const tensor of tensors) {
    const { module, part } = parseTensorName(tensor.name);
    if (!modules.has(module)) invalidAdapter(tensor.name, 'belongs to no linear of this base model');
    if (!['F32', 'F16', 'BF16'].includes(tensor.type)) {
      unsupportedAdapter(tensor.name, `is of type ${tensor.type}; F32, F16 and BF16 are read`);
    }
    const parts = found.get(module) ?? {};
    if (parts[part]) invalidAdapter(tensor.name, `is there twice, also as ${shorten(parts[part].name)}`);
    parts[part] = tensor;
    found.set(module, parts);
  }
  return found;
}

function readPair(peft: PeftConfig, shape: ModelShape, name: string, module: PeftModule, parts: Parts): AdapterPair {
  const need = (part: PartName) => parts[part] ?? invalidAdapter(tensorName(name, part), 'is missing');
  const loraA = need('loraA');
  const loraB = need('loraB');
  const magnitude = peft.useDora ? need('magnitude') : (parts.magnitude ?? null);
  if (magnitude !== null && !peft.useDora) invalidAdapter(magnitude.name, 'is there, but use_dora is not set');
  if (!peft.targets.includes(name)) {
    invalidAdapter(loraA.name, 'is there, but the config does not target its module (target_modules and the like)');
  }
  const size = linearSize(shape, module.module);
  const { r, scaling } = rankAndScaling(peft, name);
  checkShape(loraA, [r, size.in]);
  checkShape(loraB, [size.out, r]);
  if (magnitude !== null) checkShape(magnitude, magnitude.shape.length === 2 ? [size.out, 1] : [size.out]);
  return { ...module, r, scaling, loraA, loraB, magnitude };
}

function checkShape({ name, shape }: SafetensorsTensor, expected: readonly number[]): void {
  if (shape.length === expected.length && shape.every((size, index) => size === expected[index])) return;
  invalidAdapter(name, `is [${shape.slice(0, 4)}]; the config and the base model need [${expected}]`);
}

/**
 * Every entry of target_modules must have found something, unless all that it means is excluded again. Returns how
 * many modules the config targets without a pair: PEFT leaves them as they are.
 */
function checkTargets(peft: PeftConfig, modules: readonly string[], paired: ReadonlySet<string>): number {
  const { entries, includes } = peft.targets;
  const targeted = modules.filter(includes);
  const withEntry = (names: Iterable<string>) => new Set([...names].flatMap((name) => [name, ...suffixes(name)]));
  const [meansSome, meansTargeted, meansPaired] = [withEntry(modules), withEntry(targeted), withEntry(paired)];
  const lost = entries.find((entry) => !meansPaired.has(entry) && (meansTargeted.has(entry) || !meansSome.has(entry)));
  if (lost !== undefined) invalidAdapter('target_modules', `has "${shorten(lost)}", but no tensor belongs to it`);
  return targeted.filter((name) => !paired.has(name)).length;
}

function warningsOf(peft: PeftConfig, paired: readonly string[], untouched: number, baseName: string | null): string[] {
  const found: string[] = [];
  if (untouched > 0) found.push(`The config targets ${untouched} modules that have no tensors; they stay as they are.`);
  for (const [field, entries] of [
    ['rank_pattern', peft.rankPattern],
    ['alpha_pattern', peft.alphaPattern],
  ] as const) {
    const idle = entries.filter(({ matches }) => !paired.some(matches));
    const shown = idle.slice(0, 5).map(({ key }) => `"${shorten(key)}"`);
    if (idle.length > 0) found.push(`${idle.length} keys of ${field} match no module, as ${shown.join(', ')}.`);
  }
  if (baseName !== null && peft.baseModel !== null && lastPart(peft.baseModel) !== lastPart(baseName)) {
    found.push(`The adapter was made for "${shorten(peft.baseModel)}"; the base model here is "${shorten(baseName)}".`);
  }
  return found;
}

/** Repositories and folders differ where the model is the same. */
const lastPart = (name: string) => name.split(/[/\\]/).filter(Boolean).at(-1)?.toLowerCase();
