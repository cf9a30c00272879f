// Checks of the engine's events. A `step` event comes with every step, so its checks use no callbacks per token.

import Type from 'typebox';
import type { EngineEvent } from '../messages.ts';
import { amount, count, failure, floats, messageReader, nullable, number } from './check-message.ts';
import { modelShape } from './model-shape.ts';

const weightBits = Type.Union([Type.Literal(4), Type.Literal(8), Type.Literal(16), Type.Literal(32)]);

const info = Type.Object({
  model: Type.String(),
  digest: Type.String(),
  shape: modelShape,
  maxContext: count,
  maxSequences: count,
  kv: Type.Object({ blockTokens: count, blocks: count }),
  adapterRank: Type.Optional(count),
  threads: count,
  device: Type.String(),
  weightBits: amount,
  loadMs: number,
  weightsCached: Type.Boolean(),
});

const logprobs = Type.Object({ logprob: number, top: Type.Array(Type.Tuple([count, number])) });
const timings = Type.Object({ queueMs: number, prefillMs: number, decodeMs: number });

const end = Type.Object({
  id: count,
  reason: Type.Union([Type.Literal('stop'), Type.Literal('length'), Type.Literal('abort'), Type.Literal('error')]),
  stopToken: nullable(count),
  error: Type.Optional(Type.Object({ ...failure, digest: Type.Optional(Type.String()) })),
  promptTokens: count,
  completionTokens: count,
  promptLogprobs: Type.Optional(Type.Array(nullable(logprobs))),
  embedding: Type.Optional(floats),
  cachedTokens: count,
  mergedBits: Type.Optional(nullable(weightBits)),
  timings,
});

const stats = Type.Object({
  running: count,
  waiting: count,
  kvUsage: number,
  preemptions: count,
  prefixes: Type.Optional(Type.Object({ queried: count, hit: count, bytes: amount })),
  speculation: Type.Optional(Type.Object({ drafts: count, drafted: count, accepted: count, pastTextBytes: amount })),
  steps: count,
  stepMs: number,
  stepTokens: count,
  adapters: Type.Object({
    resident: count,
    residentBytes: amount,
    pagesUsed: count,
    pagesTotal: count,
    copiedBytes: amount,
    evictions: count,
  }),
  merges: Type.Optional(Type.Object({ merged: count, bytes: amount, running: count })),
});

const tier = Type.Union([Type.Literal('disk'), Type.Literal('memory')]);
const place = Type.Union([Type.Literal('memory'), Type.Literal('pages')]);

const quality = Type.Object({ positions: count, meanKl: number, maxKl: number, top1Agreement: number });
const key = Type.String();
const merge = Type.Union([
  Type.Object({ key, state: Type.Literal('merging'), progress: number }),
  Type.Object({
    ...{ key, state: Type.Literal('merged'), bits: weightBits, bytes: amount, ms: number },
    quality: nullable(quality),
  }),
  Type.Object({ key, state: Type.Literal('failed'), ...failure }),
  Type.Object({ key, state: Type.Literal('unmerged') }),
]);

export const readEngineEvent = messageReader<EngineEvent>()({
  ready: Type.Object({ info }),
  step: Type.Object({
    started: Type.Array(count),
    tokens: Type.Array(Type.Object({ id: count, token: count, logprobs: Type.Optional(logprobs) })),
    ended: Type.Array(end),
    released: Type.Optional(Type.Array(count)),
    loads: Type.Array(Type.Object({ digest: Type.String(), tier, bytes: amount, ms: number })),
    moves: Type.Array(Type.Object({ digest: Type.String(), place, isThere: Type.Boolean() })),
    stats,
  }),
  merge: Type.Object({ merge }),
  alive: Type.Object({}),
  failed: Type.Object(failure),
});
