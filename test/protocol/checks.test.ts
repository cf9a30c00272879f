// Messages of children are checked field by field: a correct message is accepted, and one with any wrong field is
// refused.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import type { ModelShape } from '../../src/core/base-model.ts';
import { configShape } from '../../src/models/config-shape.ts';
import { readEngineEvent } from '../../src/protocol/checks/engine-events.ts';
import { readOfflineEvent } from '../../src/protocol/checks/offline-events.ts';
import { readTrainerEvent } from '../../src/protocol/checks/trainer-events.ts';
import { type EngineEvent, noAdapters } from '../../src/protocol/messages.ts';
import type { OfflineEvent } from '../../src/protocol/offline-messages.ts';
import type { TrainerEvent } from '../../src/protocol/training-messages.ts';
import { readTemplateEvent } from '../../src/templates/read-event.ts';
import { tinyShape } from '../models/model-folder.ts';

const quality = { positions: 3, meanKl: 0.1, maxKl: 0.2, top1Agreement: 1 };
const logprobs = { logprob: -0.5, top: [[7, -0.5]] } as const;
const failure = { code: 'adapter_corrupt', message: 'It is damaged.' } as const;

/** A shape with every field that a shape may have. */
const shape: Required<ModelShape> = {
  ...tinyShape,
  ropeScaling: {
    ...{ kind: 'yarn', factor: 2.5, originalContext: 32, betaFast: 32.5, betaSlow: 1.5, attentionFactor: 1.5 },
    truncate: true,
  },
  attention: [
    { window: 32, rope: 'local' },
    { window: null, rope: null },
  ],
  ...{ ropeDims: 2, localRopeTheta: 0.5, attentionScale: 0.5, attentionSoftcap: 0.5, logitsSoftcap: 0.5 },
  ...{ embeddingScale: 0.5, scaledTable: true, residualScale: 0.5, logitsScale: 0.5, activation: 'gelu' },
  ...{ outputNorms: true, norms: 'around one', fusedRows: true },
};

const engine: EngineEvent[] = [
  {
    type: 'ready',
    info: {
      ...{ model: 'm', digest: 'sha256:0', shape, maxContext: 64, maxSequences: 4 },
      ...{ kv: { blockTokens: 32, blocks: 8 }, adapterRank: 8 },
      ...{ threads: 2, device: 'cpu', weightBits: 4, loadMs: 0.5, weightsCached: true },
    },
  },
  {
    type: 'step',
    started: [1],
    tokens: [{ id: 1, token: 2, logprobs }],
    ended: [
      {
        ...{ id: 1, reason: 'error', stopToken: 2, error: { ...failure, digest: 'sha256:1' }, promptTokens: 3 },
        ...{ completionTokens: 4, promptLogprobs: [null, logprobs], embedding: new Float32Array(2), cachedTokens: 0 },
        ...{ mergedBits: 8, timings: { queueMs: 0.1, prefillMs: 0.2, decodeMs: 0.3 } },
      },
    ],
    released: [3],
    loads: [{ digest: 'sha256:1', tier: 'disk', bytes: 5, ms: 0.1 }],
    moves: [{ digest: 'sha256:1', place: 'pages', isThere: false }],
    stats: {
      ...{ running: 1, waiting: 2, kvUsage: 0.5, preemptions: 0, prefixes: { queried: 3, hit: 2, bytes: 9 } },
      ...{
        speculation: { drafts: 1, drafted: 2, accepted: 1, pastTextBytes: 5 },
        steps: 9,
        stepMs: 1.5,
        stepTokens: 3,
        adapters: noAdapters,
      },
      merges: { merged: 1, bytes: 5, running: 1 },
    },
  },
  { type: 'merge', merge: { key: 'k', state: 'merging', progress: 0.5 } },
  { type: 'merge', merge: { key: 'k', state: 'merged', bits: 8, bytes: 5, ms: 1.5, quality } },
  { type: 'merge', merge: { key: 'k', state: 'failed', ...failure } },
  { type: 'merge', merge: { key: 'k', state: 'unmerged' } },
  { type: 'alive' },
  { type: 'failed', ...failure },
];

const folder = '/job';
const trainer: TrainerEvent[] = [
  { type: 'started', tokens: 100, rows: 1, steps: 2, rowsCut: 0, rowsSkipped: 1, parameters: 3, resumedStep: 0 },
  {
    type: 'step',
    metrics: {
      ...{ step: 1, steps: 2, epoch: 0.5, trainLoss: 2.5, validLoss: 2.5, learningRate: 0.001, gradNorm: 1.5 },
      ...{ tokens: 9, tokensPerSecond: 1.5, etaSeconds: Number.POSITIVE_INFINITY },
    },
  },
  { type: 'checkpoint', step: 1, validLoss: 2.5, folder },
  { type: 'paused', step: 1 },
  { type: 'finished', step: 2, trainedTokens: 9, folder, bestValidLoss: 2.5, isEarly: true },
  { type: 'failed', ...failure, step: 1 },
];

const grid = { own: [1], other: [1, 2], phi: [[0.5, 1]] };
const offline: OfflineEvent[] = [
  { type: 'bytes', bytes: 5 },
  {
    type: 'analysis',
    analysis: {
      usesDora: false,
      linears: [
        {
          ...{ layer: 0, module: 'q_proj', r: 8, scaling: 2.5, singularValues: [1.5], frobeniusNorm: 1.5 },
          ...{ effectiveRank: 1.5, stableRank: 1.5, amplification: 1.5, similarity: { input: grid, output: grid } },
        },
      ],
    },
  },
  { type: 'failed', ...failure, param: 'adapter' },
];

/** Paths of all places in a message: fields, and items of lists. */
function places(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return [path];
  const inside = Object.entries(value).flatMap(([key, one]) => places(one, [...path, key]));
  return path.length === 0 ? inside : [path, ...inside];
}

function changed(message: object, path: readonly string[], value: unknown): object {
  const copy = structuredClone(message) as Record<string, unknown>;
  let parent = copy;
  for (const key of path.slice(0, -1)) parent = parent[key] as Record<string, unknown>;
  parent[path.at(-1)!] = value;
  return copy;
}

for (const [what, read, messages] of [
  ['the engine', readEngineEvent, engine],
  ['the trainer', readTrainerEvent, trainer],
  ['a process of work on weights', readOfflineEvent, offline],
  [
    'the process of chat templates',
    readTemplateEvent,
    [{ type: 'ready' }, { type: 'rendered', id: 1, text: 'a' }, { type: 'refused', id: 1, message: 'no' }],
  ],
] as const) {
  test(`of ${what}: what is right is taken as it is, and no field may be another`, () => {
    for (const message of messages) {
      assert.equal(read(message), message);
      for (const path of places(message)) {
        for (const wrong of [Symbol.iterator, () => {}, new Date(0)]) {
          const broken = changed(message, path, wrong);
          assert.equal(read(broken), null, `${message.type}: ${path.join('.')} = ${String(wrong)}`);
        }
      }
    }
    for (const other of [
      undefined,
      null,
      1,
      'step',
      [],
      {},
      { type: 'toString' },
      { type: 5 },
      { type: '__proto__' },
    ]) {
      assert.equal(read(other), null);
    }
  });
}

const families = join(import.meta.dirname, '../fixtures/families');
for (const family of readdirSync(families)) {
  test(`the shape of ${family} is a shape`, () => {
    const config = JSON.parse(readFileSync(join(families, family, 'config.json'), 'utf8')) as Record<string, unknown>;
    const [ready] = engine as [Extract<EngineEvent, { type: 'ready' }>];
    const message = { ...ready, info: { ...ready.info, shape: configShape(config, true) } };
    assert.equal(readEngineEvent(message), message);
  });
}
