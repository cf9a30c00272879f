// A storm over the engine: sequences come in bursts, are aborted at any moment (while they wait, prefill, load their
// adapters, decode, in the middle of a forward, after their end), stop at tokens, at a maximum or at the end of the
// context, while their adapters are merged and unmerged. One seed gives one storm.

import assert from 'node:assert/strict';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { type AppliedAdapter, mergeKey } from '../../src/core/adapter.ts';
import type { ErrorCode } from '../../src/core/errors.ts';
import { prng } from '../../src/core/prng.ts';
import type { AdapterStore } from '../../src/engine/adapters/adapter-store.ts';
import type { Decoder } from '../../src/engine/runner/decoder.ts';
import type { FinishReason, WeightBits } from '../../src/protocol/messages.ts';
import type { VirtualTime } from '../fixtures/virtual-time.ts';
import { tokensOf, type Witness, type WitnessedEngine, type WitnessedMerges, witnessedEngine } from './witnesses.ts';

/** The adapters of one sequence. */
export type Weights = readonly AppliedAdapter[];

export type StormOptions = {
  /** @param wake for `onPagesChange` */
  readonly decoderOf: (wake: () => void) => Decoder;
  readonly seed: number;
  readonly sequences: number;
  readonly prompts: readonly (readonly number[])[];
  /** Adapters that sequences may use; the first ones are popular. The base alone by default. */
  readonly weights?: readonly Weights[];
  readonly storeOf?: (time: VirtualTime, wake: () => void, below: (limit: number) => number) => AdapterStore;
  /** A prompt's greedy tokens when nothing else runs, up to the end of the context. */
  readonly alone: (prompt: readonly number[], weights: Weights, isMerged: boolean) => readonly number[];
  /** The error with which sequences with these weights must end; null where they must not fail. */
  readonly failing?: (weights: Weights) => ErrorCode | null;
  /** Merges during the storm; none by default. */
  readonly merges?: WitnessedMerges & {
    readonly probes: readonly (readonly number[])[];
    /** Bits of merges. */
    readonly bits: readonly (WeightBits | null)[];
    /** Whether all are merged before the first sequence comes: for storms that would end before a merge is made. */
    readonly atFirst?: boolean;
  };
};

export type StormReport = Record<FinishReason, number> & {
  readonly steps: number;
  readonly evictions: number;
  readonly copies: number;
  /** Merges that were ready, and sequences that ran on one. */
  readonly merged: number;
  readonly onMerges: number;
  /** Preemptions of sequences, which went on later. */
  readonly preemptions: number;
};

export async function storm(options: StormOptions): Promise<StormReport> {
  const { seed, sequences, prompts, weights = [[]], storeOf, alone, failing = () => null, merges } = options;
  const random = prng(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  const aborted = new Set<number>();
  const decoder = options.decoderOf(() => witnessed.wake());

  let isOpen = false;
  const disturb = () => {
    if (!isOpen) return;
    const { engine, witnesses } = witnessed;
    const burst = random() < 0.15 ? 1 + below(2 * decoder.kv.rows) : 0;
    for (let i = 0; i < burst && witnesses.length < sequences; i++) {
      const prompt = prompts[below(prompts.length)]!;
      const adapters = weights[random() < 0.5 ? below(weights.length) : below(Math.min(weights.length, 6))]!;
      const stopTokens = random() < 0.3 ? [alone(prompt, adapters, false)[below(12)] ?? 0, 7] : [];
      const params = { maxTokens: 1 + below(random() < 0.1 ? 10_000 : 20), stopTokens };
      // One flow that floods, and others that come by.
      const share = { flow: random() < 0.6 ? 0 : below(4), weight: 1 + below(2), priority: 1 + below(3) };
      witnessed.add(prompt, params, adapters, share);
    }
    if (merges && random() < 0.05) {
      // Popular adapters, so that sequences can join the merge.
      const adapters = weights[below(Math.min(weights.length, 8))]!;
      const [key, bits] = [mergeKey(adapters), merges.bits[below(merges.bits.length)]!];
      if (adapters.length > 0 && random() < 0.6) engine.merge({ key, adapters, bits, probes: merges.probes });
      else engine.unmerge(key);
    }
    if (random() < 0.06) {
      // Mostly a young sequence, and now and then an unknown id.
      const id = witnesses.length + 1 - below(Math.min(witnesses.length + 2, 3 * decoder.kv.rows));
      aborted.add(id);
      engine.abort(id);
    }
  };
  const disturbing = async <T>(run: () => Promise<T>): Promise<T> => {
    witnessed.time.advance(below(5));
    const result = run();
    disturb();
    // Loads and copies go on while a step runs.
    for (let turn = below(3); turn > 0; turn--) await nextTurn();
    const logits = await result;
    disturb();
    return logits;
  };
  const { forward, logitsOf } = decoder;
  const disturbed: Decoder = {
    ...decoder,
    forward: (batch) => disturbing(() => forward(batch)),
    logitsOf: (batch, temperatures) => disturbing(() => logitsOf(batch, temperatures)),
  };
  const witnessed: WitnessedEngine = witnessedEngine(
    disturbed,
    1 + below(24),
    storeOf && ((time: VirtualTime, wake: () => void) => storeOf(time, wake, below)),
    merges,
  );

  for (const adapters of merges?.atFirst ? weights : []) {
    const [key, bits] = [mergeKey(adapters), merges!.bits[0] ?? null];
    if (adapters.length > 0) witnessed.engine.merge({ key, adapters, bits, probes: merges!.probes });
  }
  await witnessed.mergesSettled();
  isOpen = true;
  let steps = 0;
  while (witnessed.witnesses.length < sequences || !witnessed.engine.idle) {
    disturb();
    witnessed.time.advance(below(3));
    if (witnessed.engine.idle) continue;
    const start = performance.now();
    await witnessed.turn();
    steps++;
    // Steps of a tiny model leave no time to work beside them, and a storm is soon over. So this work gets as long as
    // the step took, which is long on a busy machine.
    if (decoder.isWorkingAside) await sleep(Math.max(3, performance.now() - start));
  }
  await witnessed.settle();
  const merged = witnessed.mergeEvents.filter(({ state }) => state === 'merged').length;
  for (const adapters of weights) witnessed.engine.unmerge(mergeKey(adapters));
  await witnessed.settle();
  assert.deepEqual(witnessed.merges.stats, { merged: 0, bytes: 0, running: 0 });
  const { evictions, copies, preemptions } = witnessed;
  const onMerges = witnessed.witnesses.filter(({ end }) => (end?.mergedBits ?? null) !== null).length;
  const report: StormReport = {
    stop: 0,
    length: 0,
    abort: 0,
    error: 0,
    steps,
    evictions,
    copies,
    merged,
    onMerges,
    preemptions,
  };
  for (const witness of witnessed.witnesses) {
    const { promptTokens, adapters } = witness.request;
    const isMerged = (witness.end?.mergedBits ?? null) !== null;
    // A failure that keeps a sequence out of the mixed batch does not keep it from a merge.
    const code = isMerged ? null : failing(adapters);
    const tokens = code === null ? alone(promptTokens, adapters, isMerged) : [];
    check(witness, { code, alone: tokens, positions: decoder.kv.positions }, aborted);
    report[witness.end!.reason]++;
  }
  return report;
}

type Expected = { readonly code: ErrorCode | null; readonly alone: readonly number[]; readonly positions: number };

function check(witness: Witness, { code, alone, positions }: Expected, aborted: ReadonlySet<number>): void {
  const { request, end, addedAt, endedAt } = witness;
  assert.ok(end, `sequence ${request.id} never ended`);
  if (code !== null && end.reason !== 'abort') {
    assert.deepEqual([end.reason, end.error?.code, witness.started], ['error', code, false]);
    return;
  }
  const expected = expectedEnd(request.promptTokens.length, request.params, alone, positions);
  const tokens = tokensOf(witness);
  if (end.reason === 'abort') {
    assert.ok(aborted.has(request.id), `sequence ${request.id} was aborted by nobody`);
    assert.deepEqual(tokens, expected.tokens.slice(0, tokens.length));
  } else {
    assert.deepEqual({ tokens, reason: end.reason, stopToken: end.stopToken }, expected);
  }
  const { queueMs, prefillMs, decodeMs } = end.timings;
  assert.ok(Math.min(queueMs, prefillMs, decodeMs) >= 0, JSON.stringify(end.timings));
  assert.ok(queueMs + prefillMs + decodeMs <= endedAt - addedAt, 'more time than there was');
}

function expectedEnd(
  promptLength: number,
  { maxTokens, stopTokens }: { maxTokens: number; stopTokens: readonly number[] },
  alone: readonly number[],
  positions: number,
): { tokens: number[]; reason: FinishReason; stopToken: number | null } {
  // The last token needs no place in the pool, since nothing comes after it.
  const most = Math.min(maxTokens, positions + 1 - promptLength);
  const stop = alone.findIndex((token) => stopTokens.includes(token));
  if (stop >= 0 && stop < most) return { tokens: alone.slice(0, stop), reason: 'stop', stopToken: alone[stop]! };
  return { tokens: alone.slice(0, most), reason: 'length', stopToken: null };
}
