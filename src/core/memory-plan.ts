// What a server's memory is for, planned before it starts: what cannot fit is refused with the whole sum, and what
// nobody chose is derived from what is left. Everything but weights and processes is a ceiling, which is touched as it
// is used. Pure.

import { linearSize, targetModules } from './adapter.ts';
import type { ModelShape } from './base-model.ts';
import { LorikeetError } from './errors.ts';
import { usualContext } from './layer-plan.ts';
import { type AdapterBits, kvBlock, pageBlocks, pageElements } from './page-sizes.ts';
import { type TrainingMemory, usualTrainingBytes } from './training-memory.ts';

/** In the order in which they are told. */
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

/** What an engine is told, or decides by. */
type EnginePart = 'kv' | 'prefixes' | 'texts' | 'pages' | 'adapters' | 'merges';

export type MemoryPlan = {
  /** What the machine has, or its cgroup allows. */
  readonly limitBytes: number;
  /** Of all processes together. */
  readonly parts: Readonly<Record<MemoryPart, number>>;
  readonly sumBytes: number;
  readonly engines: number;
  /** What one of the engines may take. */
  readonly engine: Readonly<Record<EnginePart, number>>;
  /** Of one engine. */
  readonly maxSequences: number;
  /** Tokens that a sequence may hold. */
  readonly maxContext: number;
  /** null where the engine shares out a device's memory. */
  readonly adapterPages: number | null;
  /** A training job finds its memory though all else is full, or computes elsewhere. */
  readonly hasRoomToTrain: boolean;
};

/** What somebody chose, for each engine; null: the plan's to say. */
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
  /** The limit is a cgroup's: nothing else needs any of it. */
  readonly isOwn: boolean;
  readonly shape: ModelShape;
  /** Each has all of the weights, and everything else of its own. */
  readonly engines: number;
  readonly weightBytes: number;
  readonly adapterBits: AdapterBits;
  /** Of a key's or a value's number. */
  readonly kvNumberBytes: number;
  /** Keys, values and pages lie in a device's memory, which its engine shares out. */
  readonly onDevice: boolean;
  /** Training jobs compute on the processor. */
  readonly trains: boolean;
  /** Answers are guessed from earlier ones, on the processor. */
  readonly remembersTexts: boolean;
  readonly chosen: ChosenMemory;
};

const MiB = 2 ** 20;
const GiB = 2 ** 30;

/** Node, ONNX Runtime and the buffers of a step; and Node, the database and the tokeniser. Measured, rounded up. */
const engineBytes = 256 * MiB;
const serverBytes = 320 * MiB;
/** Of a limit, what is shared out where nobody chose: the rest is the system's, and other programs'. */
const ownShare = 0.9;
const machineShare = 0.75;

/** Sequences that run at once where memory allows, and at least; tokens that make room for one more. */
const sequencesMost = 256;
const sequencesLeast = 16;
const tokensPerSequence = 512;
/** Beyond so many tokens a sequence keys and values take no more than was asked for. */
const usualTokens = 1024;
/** A context that nobody chose, on a device, whose rows are as long as it. */
const deviceContext = 2048;
/** A context that nobody chose is no shorter than this, or than the model's. */
const contextLeast = 2048;
/** Pages: rank 32 for every sequence, at least the largest rank that is common. */
const pagesPerSequence = 4;
const pagesUsual = 128;
const pagesLeast = 16;

/** Some hundred answers of each of a hundred tenants, or adapters, that had some lately. */
const textBytes = 32 * MiB;

/** How what is left is shared out, by weight. */
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

/** Throws `memory_exceeded` where it cannot fit, `invalid_config` where one choice contradicts another. */
export function planMemory(needs: MemoryNeeds): MemoryPlan {
  const { limitBytes, isOwn, chosen, onDevice, engines } = needs;
  const shape = { ...needs.shape, context: usualContext(needs.shape) };
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

  /** What each may have where nobody chose: the least, and what it is worth at most. */
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
  const more = shareOut(
    left,
    open.map((part) => ({ part, weight: shares[part], most: ranges[part][1] - ranges[part][0] })),
  );
  const parts = { ...atLeast };
  for (const [part, bytes] of more) parts[part] += Math.floor(bytes);
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

/** By weight, nobody more than he can use: what he leaves is the others'. */
function shareOut<P>(bytes: number, asked: readonly { part: P; weight: number; most: number }[]): Map<P, number> {
  const given = new Map<P, number>();
  let open = [...asked];
  let rest = bytes;
  while (open.length > 0) {
    const perWeight = rest / open.reduce((sum, { weight }) => sum + weight, 0);
    const sated = open.filter(({ most, weight }) => most <= perWeight * weight);
    for (const { part, most } of sated) {
      given.set(part, most);
      rest -= most;
    }
    open = open.filter((one) => !sated.includes(one));
    if (sated.length > 0) continue;
    for (const { part, weight } of open) given.set(part, perWeight * weight);
    break;
  }
  return given;
}

const noMemory = Object.fromEntries(Object.keys(memoryParts).map((part) => [part, 0])) as Record<MemoryPart, number>;
const sumOf = (parts: Readonly<Record<MemoryPart, number>>) => Object.values(parts).reduce((sum, bytes) => sum + bytes);

/** Of all layers. */
export const kvTokenBytes = ({ layers, kvHeads, headDim }: ModelShape, numberBytes: number): number =>
  2 * layers * kvHeads * headDim * numberBytes;

/** Of 8 ranks in every linear. */
export const adapterPageBytes = (shape: ModelShape, bits: AdapterBits): number =>
  targetModules.reduce((sum, module) => {
    const { in: inputs, out } = linearSize(shape, module);
    const elements = pageElements(inputs, pageBlocks.a, bits) + pageElements(out, pageBlocks.b, bits);
    return sum + 2 * elements * (module === 'lm_head' ? 1 : shape.layers);
  }, 0);

/** What a training job on the processor finds though all else is full. */
export const trainingMemory = ({ limitBytes, sumBytes, parts, engines }: MemoryPlan): TrainingMemory => ({
  bytes: Math.max(parts.trainer, limitBytes - sumBytes + parts.trainer),
  weightBytes: Math.floor(parts.base / engines),
});

function exceeded(parts: MemoryPlan['parts'], limitBytes: number, chosen: ChosenMemory): LorikeetError {
  // Weights are what they are, unless nothing else was chosen.
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

/** What makes the sum. */
export const describeParts = ({ parts }: MemoryPlan): string => listOf(parts);
