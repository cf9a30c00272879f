// One sequence in the engine: its tokens, how many of them are computed, and its times. Pure bookkeeping.

import { mergeKey } from '../../core/adapter.ts';
import { commonShare } from '../../core/share.ts';
import type { Constraint } from '../../grammar/grammar-thread.ts';
import type { FinishReason, SequenceEnd, SequenceRequest, Timings, TokenLogprobs } from '../../protocol/messages.ts';
import type { AdapterHold } from '../adapters/adapter-store.ts';
import type { RowAdapter } from '../adapters/row-adapter.ts';
import type { PrefixChain } from '../kv/prefix-cache.ts';
import type { Merge } from '../merges/merge.ts';
import type { Line } from '../policies/fair-queue.ts';
import { createSampler, type Sampler } from '../sampling/sampler.ts';
import { type HiddenPool, hiddenPool } from './pool-hidden.ts';
import { takeVirtualTokens, type VirtualTokens } from './virtual-tokens.ts';

export type Sequence = {
  /** Its adapters are those with pairs; virtual tokens are the first of its prompt. */
  readonly request: SequenceRequest;
  /** null: there are none. */
  readonly virtual: VirtualTokens | null;
  readonly sampler: Sampler;
  /** Says which tokens its output's grammar allows next; null without one. */
  readonly constraint: Constraint | null;
  /** Says which weights it computes with: of its adapters; empty without any. */
  readonly key: string;
  /** Where it stands while it waits. */
  readonly line: Line;
  /** Prompt and sampled tokens. What is not computed of them is work. */
  readonly tokens: number[];
  /** Of the prompt's tokens so far; null where nobody asks for them. */
  readonly promptLogprobs: (TokenLogprobs | null)[] | null;
  /** Where its prompt becomes a vector, and nothing is generated; null where tokens are. */
  readonly pool: HiddenPool | null;
  /** Tokens whose keys and values its KV row holds. */
  computed: number;
  /** Those of them that it began with for the first time: others had computed them. */
  cached: number;
  /** The KV row that it has while it runs; null while it waits. */
  kvRow: number | null;
  /** Under which its beginnings are known, from its start on; null where they are not. */
  prefix: PrefixChain | null;
  /** Monotonic milliseconds; null until it happened. */
  readonly queuedAt: number;
  /** Nobody waits for it from then on. */
  readonly expiresAt: number;
  startedAt: number | null;
  firstTokenAt: number | null;
  /** Its adapter in memory, or on its way; null without one, and before it is fetched. */
  hold: AdapterHold | null;
  /** Its adapter and the pages that it has while it runs; null where it runs on a merge. */
  adapter: RowAdapter | null;
  /** The merge that it runs on, from its start to its end; null: on the base's weights. */
  merge: Merge | null;
  /** Others were preempted for its pages, which was in vain: that is tried once. */
  hasAskedForPages: boolean;
  /** The step in which it had tokens last. */
  turn: number;
  /** Sequences that started while this one stood before them and could not. */
  overtaken: number;
};

/** No merge has the key of a sequence that may run on none. */
const keyOf = ({ adapters, mergeKey: named = mergeKey(adapters) }: SequenceRequest): string =>
  named ?? `unmerged ${mergeKey(adapters)}`;

export function createSequence(
  asked: SequenceRequest,
  now: number,
  freshSeed: () => number,
  constraint: Constraint | null = null,
): Sequence {
  const { request, virtual } = takeVirtualTokens(asked);
  const { share: { flow, weight, priority } = commonShare, timeoutMs = Number.POSITIVE_INFINITY } = request;
  const key = keyOf(request);
  const { params } = request;
  const weights = virtual ? `${key} after ${virtual.adapter.files.digest}` : key;
  return {
    ...{ request, virtual },
    sampler: createSampler(params, asked.promptTokens, freshSeed),
    constraint,
    key,
    line: { flow, weight, subflow: `${priority} ${weights}`, subflowWeight: priority },
    tokens: [...request.promptTokens],
    promptLogprobs: request.promptLogprobs === undefined ? null : new Array(1 + (virtual?.count ?? 0)).fill(null),
    pool: request.pooling === undefined ? null : hiddenPool(request.pooling),
    computed: 0,
    cached: 0,
    kvRow: null,
    prefix: null,
    queuedAt: now,
    expiresAt: now + timeoutMs,
    startedAt: null,
    firstTokenAt: null,
    hold: null,
    adapter: null,
    merge: null,
    hasAskedForPages: false,
    turn: 0,
    overtaken: 0,
  };
}

/** Of its first `count` tokens, those that are not virtual. */
export const ownTokens = ({ virtual }: Sequence, count: number): number => Math.max(0, count - (virtual?.count ?? 0));

/** Prompt tokens that are not computed yet; 0 once the sequence decodes. */
export const prefillLeft = ({ request, computed }: Sequence): number =>
  Math.max(0, request.promptTokens.length - computed);

/** Something is wanted of every position of its prompt, so that all of it is computed. */
export const readsWholePrompt = ({ promptLogprobs, pool }: Sequence): boolean =>
  promptLogprobs !== null || pool?.takesAll === true;

/** Tokens of one kind that are not computed yet: of the prompt first, then of the answer. */
export const tokensLeft = (sequence: Sequence): number =>
  prefillLeft(sequence) || sequence.tokens.length - sequence.computed;

export function endOf(
  sequence: Sequence,
  reason: FinishReason,
  now: number,
  detail: { stopToken?: number } & Pick<SequenceEnd, 'error' | 'embedding'> = {},
): SequenceEnd {
  const { request, tokens } = sequence;
  return {
    id: request.id,
    reason,
    stopToken: detail.stopToken ?? null,
    ...(detail.error ? { error: detail.error } : {}),
    ...(detail.embedding ? { embedding: detail.embedding } : {}),
    ...(sequence.promptLogprobs === null
      ? {}
      : { promptLogprobs: sequence.promptLogprobs.slice(sequence.virtual?.count) }),
    promptTokens: ownTokens(sequence, request.promptTokens.length),
    completionTokens: tokens.length - request.promptTokens.length,
    cachedTokens: sequence.cached,
    mergedBits: sequence.merge?.bits ?? null,
    timings: timingsOf(sequence, now),
  };
}

function timingsOf({ queuedAt, startedAt, firstTokenAt }: Sequence, now: number): Timings {
  const started = startedAt ?? now;
  const first = firstTokenAt ?? now;
  return { queueMs: started - queuedAt, prefillMs: first - started, decodeMs: now - first };
}
