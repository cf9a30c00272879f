// Decides which modules an adapter's config adapts, by PEFT's rules (check_target_module_exists). Knows names, no
// tensors.

import { limits } from '../core/limits.ts';
import { embeddingModule } from './peft-modules.ts';
import type { NameTest, PatternCompiler } from './peft-pattern.ts';
import { invalidAdapter } from './refuse-adapter.ts';

export type PeftTargets = {
  /** Whether a module is adapted. */
  readonly includes: NameTest;
  /** target_modules as a list; empty where it is a pattern. */
  readonly entries: readonly string[];
};

type Config = Readonly<Record<string, unknown>>;

export function readTargets(config: Config, compiler: PatternCompiler): PeftTargets {
  const { target_modules: target, exclude_modules: exclude } = config;
  const excluded = readExcluded(exclude, compiler);
  if (typeof target === 'string') {
    for (const field of ['layers_to_transform', 'layers_pattern']) {
      if (config[field] != null) invalidAdapter(field, 'cannot stand beside target_modules as a pattern');
    }
    const targeted = readPattern(target, compiler);
    return { includes: (module) => !excluded(module) && targeted(module), entries: [] };
  }
  if (target == null) invalidAdapter('target_modules', 'is missing');
  const entries = readTexts(target, 'target_modules');
  const known = new Set(entries);
  const inLayers = readLayers(config, compiler);
  // PEFT's order: a full name overrides layers_to_transform.
  const targeted: NameTest = (module) =>
    known.has(module) || (suffixes(module).some((suffix) => known.has(suffix)) && inLayers(module));
  return { includes: (module) => !excluded(module) && targeted(module), entries };
}

/** Gives the ends of a module's name: `self_attn.q_proj` and `q_proj` for `0.self_attn.q_proj`. */
export function suffixes(module: string): string[] {
  const parts = module.split('.');
  return parts.slice(1).map((_, index) => parts.slice(index + 1).join('.'));
}

function readPattern(target: string, compiler: PatternCompiler): NameTest {
  // PEFT does not count the output head and the embedding among all linears.
  if (target.toLowerCase() === 'all-linear') return (module) => module !== 'lm_head' && module !== embeddingModule;
  return compiler.whole(target, 'target_modules');
}

function readExcluded(exclude: unknown, compiler: PatternCompiler): NameTest {
  if (exclude == null || exclude === '') return () => false;
  if (typeof exclude === 'string') return compiler.whole(exclude, 'exclude_modules');
  const known = new Set(readTexts(exclude, 'exclude_modules'));
  return (module) => known.has(module) || suffixes(module).some((suffix) => known.has(suffix));
}

/** Reads layers_to_transform, and the patterns by which PEFT finds a layer's number in a name. */
function readLayers(config: Config, compiler: PatternCompiler): NameTest {
  const { layers_to_transform: layers, layers_pattern: pattern } = config;
  const isEmpty = pattern == null || pattern === '' || (Array.isArray(pattern) && pattern.length === 0);
  if (layers == null) {
    if (!isEmpty) invalidAdapter('layers_pattern', 'needs layers_to_transform');
    return () => true;
  }
  const wanted = new Set(readLayerNumbers(layers));
  if (Array.isArray(layers) && layers.length === 0) return () => true;
  const patterns = isEmpty ? [] : typeof pattern === 'string' ? [pattern] : readTexts(pattern, 'layers_pattern');
  if (patterns.length > limits.adapterPatterns) invalidAdapter('layers_pattern', 'has too many patterns');
  const sources = patterns.map((text) => ({ text, source: `(?:^|.*?\\.)${text}\\.(?P<idx>\\d+)\\.` }));
  if (isEmpty) sources.push({ text: '', source: '.*?\\.[^.]*\\.(?P<idx>\\d+)\\.' });
  const indices = sources.map(({ source, text }) => compiler.index(source, text, 'layers_pattern'));
  return (module) => {
    const found = indices.map((index) => index(module)).find((index) => index !== undefined);
    return found != null && wanted.has(Number(found));
  };
}

function readLayerNumbers(layers: unknown): number[] {
  const numbers = Array.isArray(layers) ? layers : [layers];
  if (!numbers.every((number) => Number.isSafeInteger(number))) {
    invalidAdapter('layers_to_transform', 'must be a whole number or a list of them');
  }
  return numbers;
}

function readTexts(value: unknown, field: string): string[] {
  const isList = Array.isArray(value) && value.every((item) => typeof item === 'string');
  return isList ? value : invalidAdapter(field, 'must be a list of texts or a text');
}
