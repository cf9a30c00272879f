// One sequence in the engine: its tokens, how far the KV pool holds them, and its times. Pure bookkeeping.

import { mergeKey } from '../core/adapter.ts';
import { commonShare } from '../core/share.ts';
import type { Constraint } from '../grammar/grammar-thread.ts';
import type { FinishReason, SequenceEnd, SequenceRequest, Timings, TokenLogprobs } from '../protocol/messages.ts';
import type { AdapterHold } from './adapters/adapter-store.ts';
import type { RowAdapter } from './adapters/row-adapter.ts';
import { grammarMask } from './grammar-mask.ts';
import type { Merge } from './merges/merge.ts';
import type { Line } from './policies/fair-queue.ts';
import { createSampler, type Sampler } from './sampler.ts';

export type Sequence = {
  readonly request: SequenceRequest;
  readonly sampler: Sampler;
  /** Says which tokens its output's grammar allows next; null without one. */
  readonly constraint: Constraint | null;
  /** Says which weights it computes with: of its adapters; empty without any. */
  readonly key: string;
  /** Where it stands while it waits. */
  readonly line: Line;
  /** Prompt and sampled tokens. The last sampled one is not in the KV pool yet: the next step feeds it. */
  readonly tokens: number[];
  /** Of the prompt's tokens so far; null where nobody asks for them. */
  readonly promptLogprobs: (TokenLogprobs | null)[] | null;
  /** Tokens in the KV pool. */
  past: number;
  /** Monotonic milliseconds; null until it happened. */
  readonly queuedAt: number;
  /** Nobody waits for it from then on. */
  readonly expiresAt: number;
  startedAt: number | null;
  firstTokenAt: number | null;
  /** Its adapter in memory, or on its way; null without one, and before it is fetched. */
  hold: AdapterHold | null;
  /** Its adapter as its row uses it, from its start on; null where it runs on a merge. */
  row: RowAdapter | null;
  /** The merge that it runs on, from its start to its end; null: on the base's weights. */
  merge: Merge | null;
  /** The KV row that keeps what it has while another runs in its place; null while it runs, and before. */
  parkedIn: number | null;
  /** Others were parked for its pages, which was in vain: that is tried once. */
  hasAskedForPages: boolean;
  /** Sequences that started while this one stood before them and could not. */
  overtaken: number;
};

/** Behind a key, so that no merge has it. */
const unmerged = ' unmerged';

export function createSequence(
  request: SequenceRequest,
  now: number,
  freshSeed: () => number,
  constraint: Constraint | null = null,
): Sequence {
  const { share: { flow, weight, priority } = commonShare, timeoutMs = Number.POSITIVE_INFINITY } = request;
  const key = mergeKey(request.adapters) + (request.usesMerge === false ? unmerged : '');
  const { params, promptTokens } = request;
  const mask = constraint && grammarMask(constraint, params.stopTokens);
  return {
    request,
    sampler: createSampler(params, promptTokens, freshSeed, mask),
    constraint,
    key,
    line: { flow, weight, subflow: `${priority} ${key}`, subflowWeight: priority },
    tokens: [...request.promptTokens],
    promptLogprobs: request.promptLogprobs === undefined ? null : [null],
    past: 0,
    queuedAt: now,
    expiresAt: now + timeoutMs,
    startedAt: null,
    firstTokenAt: null,
    hold: null,
    row: null,
    merge: null,
    parkedIn: null,
    hasAskedForPages: false,
    overtaken: 0,
  };
}

/** Prompt tokens that are not in the KV pool yet; 0 once the sequence decodes. */
export function prefillLeft(sequence: Sequence): number {
  return Math.max(0, sequence.request.promptTokens.length - sequence.past);
}

export function endOf(
  sequence: Sequence,
  reason: FinishReason,
  now: number,
  detail: { stopToken?: number; error?: SequenceEnd['error'] } = {},
): SequenceEnd {
  const { request, tokens } = sequence;
  return {
    id: request.id,
    reason,
    stopToken: detail.stopToken ?? null,
    ...(detail.error ? { error: detail.error } : {}),
    ...(sequence.promptLogprobs === null ? {} : { promptLogprobs: sequence.promptLogprobs }),
    promptTokens: request.promptTokens.length,
    completionTokens: tokens.length - request.promptTokens.length,
    cachedTokens: 0,
    mergedBits: sequence.merge?.bits ?? null,
    timings: timingsOf(sequence, now),
  };
}

function timingsOf({ queuedAt, startedAt, firstTokenAt }: Sequence, now: number): Timings {
  const started = startedAt ?? now;
  const first = firstTokenAt ?? now;
  return { queueMs: started - queuedAt, prefillMs: first - started, decodeMs: now - first };
}
