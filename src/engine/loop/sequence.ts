// One sequence in the engine: its tokens, how many of them are computed, and its times. Bookkeeping alone.

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
  /** The request with only the adapters that have pairs; virtual tokens are the first of its prompt. */
  readonly request: SequenceRequest;
  /** null where the request has no virtual tokens. */
  readonly virtual: VirtualTokens | null;
  readonly sampler: Sampler;
  /** Says which tokens its output's grammar allows next; null without one. */
  readonly constraint: Constraint | null;
  /** Names the weights that it computes with, by its adapters; empty without any. */
  readonly key: string;
  /** The flow and subflow in which it waits. */
  readonly line: Line;
  /** Prompt and sampled tokens. Those that are not computed yet are work. */
  readonly tokens: number[];
  /** Log-probabilities of the prompt's tokens read so far; null where the request asks for none. */
  readonly promptLogprobs: (TokenLogprobs | null)[] | null;
  /** Pools a prompt that becomes an embedding; null where tokens are generated. */
  readonly pool: HiddenPool | null;
  /** Tokens whose keys and values its KV row holds. */
  computed: number;
  /** Tokens that the prefix cache held at its first start, without virtual ones. */
  cached: number;
  /** Its KV row while it runs; null while it waits. */
  kvRow: number | null;
  /**
   * Names the beginnings of its tokens in the prefix cache; null before its first start, and where the cache is not
   * used.
   */
  prefix: PrefixChain | null;
  /** Monotonic milliseconds; the times below are null until they happen. */
  readonly queuedAt: number;
  /** Deadline in monotonic milliseconds; infinite without one. */
  readonly expiresAt: number;
  startedAt: number | null;
  firstTokenAt: number | null;
  /** Its adapter in memory or on its way; null without pairs, before it is fetched, and on a merge. */
  hold: AdapterHold | null;
  /** Its adapter and pages while it runs; null without pairs, and on a merge. */
  adapter: RowAdapter | null;
  /** The merge that it runs on, from its start to its end; null on the base's weights. */
  merge: Merge | null;
  /** Whether sequences were preempted for its pages since it last started: that is tried once. */
  hasAskedForPages: boolean;
  /** Number of the step in which it last had tokens. */
  turn: number;
  /** Sequences that started past this one while it was blocked. */
  overtaken: number;
};

/** The key of a request that must not run on a merge begins with `unmerged`, so that no merge has it. */
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

/** How many of the first `count` tokens are not virtual. */
export const ownTokens = ({ virtual }: Sequence, count: number): number => Math.max(0, count - (virtual?.count ?? 0));

/** Prompt tokens that are not computed yet; 0 once the sequence decodes. */
export const prefillLeft = ({ request, computed }: Sequence): number =>
  Math.max(0, request.promptTokens.length - computed);

/** Whether the request needs a result at every position of its prompt, so that no prefix is taken from the cache. */
export const readsWholePrompt = ({ promptLogprobs, pool }: Sequence): boolean =>
  promptLogprobs !== null || pool?.takesAll === true;

/** Tokens of one kind that are not computed yet: the prompt's while any are left, then the answer's. */
export const tokensLeft = (sequence: Sequence): number =>
  prefillLeft(sequence) || sequence.tokens.length - sequence.computed;

/** What an end tells beside its reason. */
export type EndDetail = { readonly stopToken?: number } & Pick<SequenceEnd, 'error' | 'embedding'>;

export function endOf(sequence: Sequence, reason: FinishReason, now: number, detail: EndDetail): SequenceEnd {
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
