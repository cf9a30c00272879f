// Reads adapter_config.json as PEFT does for LoRA. Fields that change the result are applied or refused by name, never
// ignored; fields that matter only to training are skipped. Knows no tensors.

import { isRecord } from '../core/is-record.ts';
import { limits } from '../core/limits.ts';
import { fileKind, kindPrefixBytes } from './file-kind.ts';
import { type NameTest, type PatternCompiler, patternCompiler } from './peft-pattern.ts';
import { type PeftTargets, readTargets } from './peft-targets.ts';
import { configFile, invalidAdapter, shorten, unsupportedAdapter } from './refuse-adapter.ts';
import { parseStrictJson, StrictJsonError } from './strict-json.ts';

/** An entry of rank_pattern or alpha_pattern. */
export type PatternEntry = { readonly key: string; readonly matches: NameTest; readonly value: number };

/** Kinds of adapters that change weights. Trainable tokens alone have no pairs. */
export type PeftType = 'LORA' | 'TRAINABLE_TOKENS';

export type PeftConfig = {
  readonly type: PeftType;
  /**
   * Token ids with rows of their own, by module. A key is matched as PEFT matches names, by the whole name or its end;
   * null matches any module.
   */
  readonly tokens: ReadonlyMap<string | null, readonly number[]>;
  readonly r: number;
  readonly loraAlpha: number;
  /** Entries in the file's order, of which the first match counts. */
  readonly rankPattern: readonly PatternEntry[];
  readonly alphaPattern: readonly PatternEntry[];
  readonly useRslora: boolean;
  readonly useDora: boolean;
  /**
   * Reads which modules the config names. It is read on demand, since tensors decide what an adapter adapts: only a
   * training job, which has no tensors yet, depends on it. Throws `adapter_invalid` or `adapter_unsupported` where the
   * fields cannot be read.
   */
  targets(): PeftTargets;
  readonly baseModel: string | null;
  readonly warnings: readonly string[];
};

/** Kinds of adapters that put tokens before a text (peft-virtual-tokens.ts), and what each stores of such a token. */
export const virtualTypes = {
  PROMPT_TUNING: 'embeddings',
  P_TUNING: 'embeddings',
  PREFIX_TUNING: 'keys and values',
} as const;

/** Fields that this reader applies, and fields that do not matter to what the adapter computes. */
const applied = [
  ...['peft_type', 'task_type', 'r', 'lora_alpha', 'rank_pattern', 'alpha_pattern', 'use_rslora', 'use_dora'],
  ...['target_modules', 'exclude_modules', 'layers_to_transform', 'layers_pattern', 'fan_in_fan_out'],
  ...['init_lora_weights', 'base_model_name_or_path', 'trainable_token_indices', 'modules_to_save'],
];
const trainingOnly = [
  ...['lora_dropout', 'inference_mode', 'peft_version', 'auto_mapping', 'revision', 'runtime_config'],
  // Settings of initialisations and of the backward pass. Whether an initialisation changed the base is said by
  // init_lora_weights.
  ...['loftq_config', 'eva_config', 'corda_config', 'lora_ga_config', 'velora_config', 'qalora_group_size'],
  // The tied weights themselves are in the file.
  'ensure_weight_tying',
];
const known: Readonly<Record<PeftType, ReadonlySet<string>>> = {
  LORA: new Set([...applied, ...trainingOnly]),
  TRAINABLE_TOKENS: new Set([
    ...['peft_type', 'task_type', 'base_model_name_or_path', 'target_modules', 'token_indices', 'init_weights'],
    ...['inference_mode', 'peft_version', 'auto_mapping', 'revision', 'modules_to_save'],
  ]),
};

/** Values that leave other fields without effect. */
const off: Readonly<Record<string, unknown>> = { bias: 'none', megatron_core: 'megatron.core' };

/**
 * Initialisations that leave the base model unchanged; pissa, olora, corda, lora_ga and loftq take a part out of it.
 */
const harmlessInits: readonly unknown[] = [undefined, null, true, false, 'gaussian', 'eva', 'orthogonal', 'mica'];

export type Config = Readonly<Record<string, unknown>>;

/** Reads the config. Throws `adapter_invalid` and `adapter_unsupported` with the field's name. */
export function parsePeftConfig(bytes: Uint8Array): PeftConfig {
  const config = parseConfigFields(bytes);
  const type = typeOf(config);
  refuseOthers(config, type);
  const compiler = patternCompiler();
  const isWrongWay = flag(config, 'fan_in_fan_out');
  return {
    type,
    tokens: type === 'LORA' ? readTokenIndices(config) : new Map([[null, readTokens(config, 'token_indices')]]),
    r: config.r === undefined ? 8 : rank(config.r, 'r'),
    loraAlpha: config.lora_alpha === undefined ? 8 : alpha(config.lora_alpha, 'lora_alpha'),
    rankPattern: readPattern(config, 'rank_pattern', rank, compiler),
    alphaPattern: readPattern(config, 'alpha_pattern', alpha, compiler),
    useRslora: flag(config, 'use_rslora'),
    useDora: flag(config, 'use_dora'),
    targets: () => readTargets(config, patternCompiler()),
    baseModel: optionalText(config, 'base_model_name_or_path'),
    // PEFT resets it to false for linears, with a warning; so does this reader.
    warnings: isWrongWay ? ['fan_in_fan_out has no effect on the linears of this base model.'] : [],
  };
}

/** Gives the rank and scaling of one module: alpha / r, or alpha / sqrt(r) with rsLoRA. */
export function rankAndScaling(config: PeftConfig, module: string): { readonly r: number; readonly scaling: number } {
  const ofModule = (entries: readonly PatternEntry[]) => entries.find(({ matches }) => matches(module))?.value;
  const r = ofModule(config.rankPattern) ?? config.r;
  const loraAlpha = ofModule(config.alphaPattern) ?? config.loraAlpha;
  return { r, scaling: loraAlpha / (config.useRslora ? Math.sqrt(r) : r) };
}

/** Reads the fields that are set: null counts as not set. Throws `adapter_invalid`. */
export const parseConfigFields = (bytes: Uint8Array): Config =>
  Object.fromEntries(Object.entries(parseObject(bytes)).filter(([, value]) => value !== null));

/** Bounds on the config's JSON. Patterns have the most members. */
const bounds = { jsonDepth: limits.jsonDepth, jsonMembers: 4 * limits.adapterPatterns };

function parseObject(bytes: Uint8Array): Config {
  if (bytes.length > limits.adapterConfigBytes) {
    invalidAdapter(configFile, `has ${bytes.length} bytes; the limit is ${limits.adapterConfigBytes}`);
  }
  const kind = fileKind(bytes.subarray(0, kindPrefixBytes));
  if (kind !== null && kind.name !== 'text') invalidAdapter(configFile, kind.says);
  let value: unknown;
  try {
    value = parseStrictJson(new TextDecoder('utf-8', { fatal: true }).decode(bytes), { bounds });
  } catch (error) {
    if (error instanceof StrictJsonError) invalidAdapter(configFile, `is refused: ${shorten(error.message)}`);
    invalidAdapter(configFile, 'is not UTF-8');
  }
  return isRecord(value) ? value : invalidAdapter(configFile, 'is not an object');
}

function typeOf({ peft_type: type }: Config): PeftType {
  if (type === undefined) invalidAdapter('peft_type', 'is missing');
  if (Object.hasOwn(virtualTypes, String(type))) {
    unsupportedAdapter('peft_type', 'is one of virtual tokens, which change no weights');
  }
  if (type === 'LORA' || type === 'TRAINABLE_TOKENS') return type;
  return unsupportedAdapter('peft_type', 'is not LORA');
}

function refuseOthers(config: Config, type: PeftType): void {
  refuseOtherTask(config);
  refuseWholeModules(config.modules_to_save);
  const init = config.init_lora_weights;
  if (!harmlessInits.includes(typeof init === 'string' ? init.toLowerCase() : init)) {
    unsupportedAdapter('init_lora_weights', 'belongs to a changed base model; convert the adapter to plain LoRA first');
  }
  refuseUnknownFields(config, (field) => known[type].has(field));
}

/** PEFT's names for classification heads. */
const classifiers = ['score', 'classifier', 'classification_head'];

/**
 * Refuses `modules_to_save`, which replaces whole matrices of the base: each such adapter would be a model of its own.
 */
function refuseWholeModules(modules: unknown): void {
  if (modules === undefined || isOff(modules)) return;
  if (!Array.isArray(modules) || !modules.every((module) => typeof module === 'string')) {
    invalidAdapter('modules_to_save', 'must be a list of texts');
  }
  const names = modules.slice(0, 5).map(shorten).join(', ');
  const isClassifier = modules.some((module) => classifiers.includes(module.split('.').at(-1)!));
  if (isClassifier) unsupportedAdapter('modules_to_save', `names a head that classifies (${names}): it writes no text`);
  const isVocabulary = modules.every((module) => /(?:^|\.)(?:embed_tokens|lm_head)$/.test(module));
  const instead = isVocabulary
    ? 'name them in target_modules, or their new tokens in trainable_token_indices'
    : 'name linears in target_modules';
  unsupportedAdapter('modules_to_save', `replaces whole modules (${names}), which no request has alone: ${instead}`);
}

/** Reads `trainable_token_indices`. A plain list belongs to the embedding, as in PEFT. */
function readTokenIndices(config: Config): Map<string, readonly number[]> {
  const field = 'trainable_token_indices';
  const value = config[field] ?? [];
  if (Array.isArray(value)) {
    return value.length === 0 ? new Map() : new Map([['embed_tokens', readTokens(config, field)]]);
  }
  if (!isRecord(value)) return invalidAdapter(field, 'must be a list or an object');
  return new Map(Object.keys(value).map((module) => [module, readTokens(value, module, `${field}.${module}`)]));
}

function readTokens(fields: Config, field: string, label = field): readonly number[] {
  const tokens = fields[field];
  if (!Array.isArray(tokens) || !tokens.every((token) => Number.isSafeInteger(token) && token >= 0)) {
    return invalidAdapter(label, 'must be a list of token ids');
  }
  if (new Set(tokens).size < tokens.length) invalidAdapter(label, 'names a token twice');
  return tokens;
}

export function refuseOtherTask({ task_type: task = 'CAUSAL_LM' }: Config): void {
  if (task !== 'CAUSAL_LM') unsupportedAdapter('task_type', 'is not CAUSAL_LM');
}

export function refuseUnknownFields(config: Config, isKnown: (field: string) => boolean): void {
  for (const [field, value] of Object.entries(config)) {
    if (!isKnown(field) && !isOff(value) && value !== off[field]) {
      unsupportedAdapter(field, 'is set, and would change the result');
    }
  }
}

const isOff = (value: unknown): boolean =>
  value === null || value === false || value === '' || (typeof value === 'object' && Object.keys(value).length === 0);

function readPattern(
  config: Config,
  field: string,
  read: (value: unknown, field: string) => number,
  compiler: PatternCompiler,
): PatternEntry[] {
  const value = config[field] ?? {};
  if (!isRecord(value)) invalidAdapter(field, 'must be an object');
  // Keys like "0" come first whatever the file's order. They end no linear's name, and so match nothing.
  const entries = Object.entries(value);
  if (entries.length > limits.adapterPatterns) invalidAdapter(field, `has more than ${limits.adapterPatterns} keys`);
  return entries.map(([key, item]) => ({
    key,
    matches: compiler.suffix(key, field),
    value: read(item, `${field}.${key}`),
  }));
}

function rank(value: unknown, field: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 1) invalidAdapter(field, 'must be a positive whole number');
  if ((value as number) > limits.adapterRank) unsupportedAdapter(field, `is above the limit of ${limits.adapterRank}`);
  return value as number;
}

/**
 * Reads an alpha. PEFT takes any number: its annotation says integer, but users write fractions. Here it must fit a
 * 32-bit float.
 */
const alpha = (value: unknown, field: string): number =>
  typeof value === 'number' && Number.isFinite(Math.fround(value)) ? value : invalidAdapter(field, 'must be a number');

function flag(config: Config, field: string): boolean {
  const value = config[field] ?? false;
  return typeof value === 'boolean' ? value : invalidAdapter(field, 'must be true or false');
}

export function optionalText(config: Config, field: string): string | null {
  const value = config[field] ?? null;
  return value === null || typeof value === 'string' ? value : invalidAdapter(field, 'must be a text');
}
