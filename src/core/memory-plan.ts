// Plans a server's memory before it starts. A configuration that cannot fit is refused with the whole sum, and sizes
// that nobody chose are derived from what is left. Everything except weights and processes is a ceiling: its memory is
// touched only as it is used. Pure.

import { linearSize, targetModules } from './adapter.ts';
import type { ModelShape } from './base-model.ts';
import { LorikeetError } from './errors.ts';
import { defaultContext } from './layer-plan.ts';
import { maxMinShares } from './max-min-shares.ts';
import { type AdapterBits, kvBlock, kvTokenElements, pageBlocks, pageElements } from './page-sizes.ts';
import { type TrainingMemory, usualTrainingBytes } from './training-memory.ts';

/** Names of the parts for messages, in the order in which they are listed. */
export const memoryParts = {
  base: 'base weights',
  engine: 'engine process',
  server: 'server process',
  kv: 'keys and values',
  prefixes: 'known beginnings',
  texts: 'past texts',
  pages: 'adapter pages',
  adapters: 'adapters',
  merges: 'merged weights',
  trainer: 'a training job',
} as const;
export type MemoryPart = keyof typeof memoryParts;

/** Parts that an engine is told, or decides by. */
type EnginePart = 'kv' | 'prefixes' | 'texts' | 'pages' | 'adapters' | 'merges';

export type MemoryPlan = {
  /** Memory of the machine, or the limit of the process's cgroup. */
  readonly limitBytes: number;
  /** Bytes of each part, of all processes together. */
  readonly parts: Readonly<Record<MemoryPart, number>>;
  readonly sumBytes: number;
  readonly engines: number;
  /** Bytes that one of the engines may take. */
  readonly engine: Readonly<Record<EnginePart, number>>;
  /** Sequences that one engine runs at once. */
  readonly maxSequences: number;
  /** Tokens that a sequence may hold. */
  readonly maxContext: number;
  /** Pages of one engine; null where the engine shares out a device's memory itself. */
  readonly adapterPages: number | null;
  /** A training job gets its memory even when all else is full, or computes on a device. */
  readonly hasRoomToTrain: boolean;
};

/** Sizes that the operator chose for each engine; null: the plan decides. */
export type ChosenMemory = {
  readonly maxSequences: number | null;
  readonly maxContext: number | null;
  readonly adapterPages: number | null;
  readonly kv: number | null;
  readonly prefixes: number | null;
  readonly adapters: number | null;
  readonly merges: number | null;
};

export type MemoryNeeds = {
  readonly limitBytes: number;
  /** The limit is a cgroup's, so that no other program needs a part of it. */
  readonly isOwn: boolean;
  readonly shape: ModelShape;
  /** Engines, each with a copy of all weights and of everything else. */
  readonly engines: number;
  readonly weightBytes: number;
  readonly adapterBits: AdapterBits;
  /** Bytes of one number of a key or value. */
  readonly kvNumberBytes: number;
  /** The KV cache and adapter pages lie in a device's memory, which the engine shares out. */
  readonly onDevice: boolean;
  /** Training jobs compute on the processor, and not on a device. */
  readonly trains: boolean;
  /** The engine speculates from earlier answers, on the processor. */
  readonly remembersTexts: boolean;
  readonly chosen: ChosenMemory;
};

const MiB = 2 ** 20;
const GiB = 2 ** 30;

/**
 * Memory of an engine process (Node, ONNX Runtime, buffers of a step) and of the server process (Node, database,
 * tokeniser). Measured, rounded up.
 */
const engineBytes = 256 * MiB;
const serverBytes = 320 * MiB;
/**
 * Share of the limit that is given out by default, of a cgroup and of a whole machine. The rest is for the system and
 * other programs.
 */
const ownShare = 0.9;
const machineShare = 0.75;

/** Most and fewest sequences that run at once by default, and KV tokens for which one more is allowed. */
const sequencesMost = 256;
const sequencesLeast = 16;
const tokensPerSequence = 512;
/** Most tokens a sequence for which the KV cache has room by default. */
const usualTokens = 1024;
/** Default context on a device, where each KV row is allocated at the full context. */
const deviceContext = 2048;
/** The default context is at least this long, unless the model's own is shorter. */
const contextLeast = 2048;
/** Default adapter pages: rank 32 for every sequence, and at least the largest rank that is common. */
const pagesPerSequence = 4;
const pagesUsual = 128;
const pagesLeast = 16;

/** Memory of past texts: some hundred answers of each of a hundred recent tenants or adapters. */
const textBytes = 32 * MiB;

/** Weights by which the remaining memory is shared out. */
const shares = { kv: 4, pages: 2, trainer: 2, adapters: 1, merges: 1, prefixes: 1, texts: 1 } as const;
type Derived = keyof typeof shares;

const settingOf: Partial<Record<MemoryPart, string>> = {
  base: 'LORIKEET_WEIGHT_BITS',
  kv: 'LORIKEET_KV_MEMORY',
  prefixes: 'LORIKEET_PREFIX_CACHE_MEMORY',
  pages: 'LORIKEET_ADAPTER_PAGES',
  adapters: 'LORIKEET_ADAPTER_MEMORY',
  merges: 'LORIKEET_MERGE_MEMORY',
};

/**
 * Plans the memory. Throws `memory_exceeded` where the needs cannot fit, and `invalid_config` where one choice
 * contradicts another.
 */
export function planMemory(needs: MemoryNeeds): MemoryPlan {
  const { limitBytes, isOwn, chosen, onDevice, engines } = needs;
  const shape = { ...needs.shape, context: defaultContext(needs.shape) };
  const tokenBytes = kvTokenBytes(shape, needs.kvNumberBytes);
  const pageBytes = adapterPageBytes(shape, needs.adapterBits);
  if (onDevice && needs.adapterBits !== 16) {
    const message = 'LORIKEET_ADAPTER_BITS=8 is of the processor; a device keeps 16 bits.';
    throw new LorikeetError('invalid_config', { message, param: 'LORIKEET_ADAPTER_BITS' });
  }
  const { context: longest } = needs.shape;
  if (chosen.maxContext !== null && chosen.maxContext > longest) {
    const message = `LORIKEET_MAX_CONTEXT is ${chosen.maxContext}, but the model takes ${longest} at most.`;
    throw new LorikeetError('invalid_config', { message, param: 'LORIKEET_MAX_CONTEXT' });
  }
  const context = chosen.maxContext ?? shape.context;
  const inBlocks = (tokens: number) => Math.ceil(tokens / kvBlock) * kvBlock;
  const contextBytes = tokenBytes * inBlocks(chosen.maxContext ?? Math.min(context, contextLeast));
  const rows = chosen.maxSequences ?? sequencesMost;
  const mostTokens = rows * inBlocks(context);
  const wantedTokens = Math.min(mostTokens, Math.max(inBlocks(context), rows * usualTokens));

  /** Multiplies a part's range, its least and its most useful size, by the number of engines. */
  const each = (least: number, most: number) => [engines * least, engines * most] as const;
  const ranges: Record<Derived, readonly [least: number, most: number]> = {
    kv: onDevice ? [0, 0] : each(contextBytes, tokenBytes * wantedTokens),
    pages: onDevice ? [0, 0] : each(pageBytes * pagesLeast, pageBytes * Math.max(pagesUsual, pagesPerSequence * rows)),
    prefixes: each(0, onDevice ? 0 : 256 * MiB),
    texts: each(0, needs.remembersTexts && !onDevice ? textBytes : 0),
    adapters: each(64 * MiB, GiB),
    merges: each(0, 512 * MiB),
    trainer: [0, needs.trains ? usualTrainingBytes(shape, needs.weightBytes) : 0],
  };
  const fixed: Partial<Record<MemoryPart, number>> = {
    base: engines * needs.weightBytes,
    engine: engines * engineBytes,
    server: serverBytes,
    ...(chosen.adapters === null ? {} : { adapters: engines * chosen.adapters }),
    ...(chosen.merges === null ? {} : { merges: engines * chosen.merges }),
    ...(chosen.prefixes === null || onDevice ? {} : { prefixes: engines * chosen.prefixes }),
    ...(chosen.adapterPages === null || onDevice ? {} : { pages: engines * chosen.adapterPages * pageBytes }),
    ...(chosen.kv === null || onDevice ? {} : { kv: engines * Math.min(chosen.kv, tokenBytes * mostTokens) }),
  };
  const open = (Object.keys(shares) as Derived[]).filter((part) => fixed[part] === undefined);
  const least = Object.fromEntries(open.map((part) => [part, ranges[part][0]])) as Partial<Record<MemoryPart, number>>;
  const atLeast = { ...noMemory, ...fixed, ...least };
  if (sumOf(atLeast) > limitBytes) throw exceeded(atLeast, limitBytes, chosen);

  const left = Math.max(0, limitBytes * (isOwn ? ownShare : machineShare) - sumOf(atLeast));
  const more = maxMinShares(
    left,
    open.map((part) => ({ weight: shares[part], most: ranges[part][1] - ranges[part][0] })),
  );
  const parts = { ...atLeast };
  for (const [i, part] of open.entries()) parts[part] += Math.floor(more[i]!);
  const engine = ofOne(parts, engines);
  return {
    limitBytes,
    parts,
    sumBytes: sumOf(parts),
    engines,
    engine,
    hasRoomToTrain: parts.trainer >= Math.floor(ranges.trainer[1]),
    ...(onDevice ? deviceSizes(chosen, shape) : hostSizes(chosen, shape, engine, { tokenBytes, pageBytes })),
  };
}

function ofOne(parts: MemoryPlan['parts'], engines: number): MemoryPlan['engine'] {
  const share = (part: MemoryPart) => Math.floor(parts[part] / engines);
  const [kv, prefixes, texts] = [share('kv'), share('prefixes'), share('texts')];
  return { kv, prefixes, texts, pages: share('pages'), adapters: share('adapters'), merges: share('merges') };
}

const deviceSizes = ({ maxSequences, maxContext, adapterPages }: ChosenMemory, { context }: ModelShape) => ({
  maxSequences: maxSequences ?? sequencesLeast,
  maxContext: maxContext ?? Math.min(context, deviceContext),
  adapterPages,
});

function hostSizes(
  { maxSequences, maxContext, adapterPages }: ChosenMemory,
  { context }: ModelShape,
  { kv, pages }: { readonly kv: number; readonly pages: number },
  { tokenBytes, pageBytes }: { readonly tokenBytes: number; readonly pageBytes: number },
) {
  const tokens = Math.floor(kv / (tokenBytes * kvBlock)) * kvBlock;
  if (maxContext !== null && tokens < maxContext) {
    const message = `LORIKEET_KV_MEMORY holds ${tokens} tokens, less than the ${maxContext} of LORIKEET_MAX_CONTEXT.`;
    throw new LorikeetError('invalid_config', { message, param: 'LORIKEET_KV_MEMORY' });
  }
  if (tokens < kvBlock) {
    const message = `LORIKEET_KV_MEMORY holds no ${kvBlock} tokens: they take ${kvBlock * tokenBytes} bytes.`;
    throw new LorikeetError('invalid_config', { message, param: 'LORIKEET_KV_MEMORY' });
  }
  const usual = Math.min(Math.max(Math.floor(tokens / tokensPerSequence), sequencesLeast), sequencesMost);
  return {
    maxSequences: maxSequences ?? usual,
    maxContext: maxContext ?? Math.min(context, tokens),
    adapterPages: adapterPages ?? Math.floor(pages / pageBytes),
  };
}

const noMemory = Object.fromEntries(Object.keys(memoryParts).map((part) => [part, 0])) as Record<MemoryPart, number>;
const sumOf = (parts: Readonly<Record<MemoryPart, number>>) => Object.values(parts).reduce((sum, bytes) => sum + bytes);

/** Bytes of one token's keys and values, in all layers. */
export const kvTokenBytes = (shape: ModelShape, numberBytes: number): number => kvTokenElements(shape) * numberBytes;

/** Bytes of one page of 8 ranks in every linear. */
export const adapterPageBytes = (shape: ModelShape, bits: AdapterBits): number =>
  targetModules.reduce((sum, module) => {
    const { in: inputs, out } = linearSize(shape, module);
    const elements = pageElements(inputs, pageBlocks.a, bits) + pageElements(out, pageBlocks.b, bits);
    return sum + 2 * elements * (module === 'lm_head' ? 1 : shape.layers);
  }, 0);

/** Memory that a training job on the processor can count on even when all else is full. */
export const trainingMemory = ({ limitBytes, sumBytes, parts, engines }: MemoryPlan): TrainingMemory => ({
  bytes: Math.max(parts.trainer, limitBytes - sumBytes + parts.trainer),
  weightBytes: Math.floor(parts.base / engines),
});

function exceeded(parts: MemoryPlan['parts'], limitBytes: number, chosen: ChosenMemory): LorikeetError {
  // The advice names the weights' setting only where nothing else was chosen.
  const lowered = (['kv', 'prefixes', 'pages', 'adapters', 'merges'] as const)
    .filter((part) => (part === 'pages' ? chosen.adapterPages : chosen[part]) !== null)
    .sort((a, b) => parts[b] - parts[a])[0];
  const isContext = chosen.maxContext !== null && parts.kv > (lowered === undefined ? 0 : parts[lowered]);
  const param = isContext && chosen.kv === null ? 'LORIKEET_MAX_CONTEXT' : settingOf[lowered ?? 'base']!;
  const advice =
    lowered === undefined && !isContext
      ? 'Choose a smaller model, or fewer bits (LORIKEET_WEIGHT_BITS).'
      : `Lower ${param}.`;
  const sum = `This needs ${inMiB(sumOf(parts))} of memory at least, and there are ${inMiB(limitBytes)}`;
  const message = `${sum}: ${listOf(parts)}. ${advice}`;
  return new LorikeetError('memory_exceeded', { message, param });
}

const listOf = (parts: MemoryPlan['parts']): string =>
  (Object.keys(memoryParts) as MemoryPart[])
    .filter((part) => parts[part] > 0)
    .map((part) => `${memoryParts[part]} ${inMiB(parts[part])}`)
    .join(', ');

const inMiB = (bytes: number) => `${Math.round(bytes / MiB)} MiB`;

export function describeMemory({ sumBytes, limitBytes, engines, maxSequences, maxContext }: MemoryPlan): string {
  const each = engines === 1 ? '' : ` on each of ${engines} engines`;
  const sequences = `${maxSequences} sequences of up to ${maxContext} tokens${each}`;
  return `${sequences}, at most ${inMiB(sumBytes)} of ${inMiB(limitBytes)}`;
}

/** Lists the parts that make the sum. */
export const describeParts = ({ parts }: MemoryPlan): string => listOf(parts);
