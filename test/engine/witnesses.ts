// An engine whose events are checked as they come: every sequence starts once, before its tokens, and ends once, last.

import assert from 'node:assert/strict';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { AppliedAdapter } from '../../src/core/adapter.ts';
import { defaultSamplingParams, type SamplingParams } from '../../src/core/sampling-params.ts';
import { commonShare, type Share } from '../../src/core/share.ts';
import type { AdapterStore } from '../../src/engine/adapters/adapter-store.ts';
import { Engine, type EngineOptions } from '../../src/engine/loop/engine.ts';
import type { MergeArithmetic } from '../../src/engine/merges/make-merge.ts';
import { Merges } from '../../src/engine/merges/merges.ts';
import type { Decoder } from '../../src/engine/runner/decoder.ts';
import type {
  EngineEvent,
  MergeEvent,
  MergeRequest,
  SequenceEnd,
  SequenceRequest,
  SpeculationStats,
  TokenEvent,
} from '../../src/protocol/messages.ts';
import { type VirtualTime, virtualTime } from '../fixtures/virtual-time.ts';
import { markedStore } from './adapters/marked-adapters.ts';
import { markedArithmetic } from './merges/marked-merges.ts';

export const greedy: SamplingParams = { ...defaultSamplingParams, temperature: 0 };

export type Witness = {
  readonly request: SequenceRequest;
  readonly addedAt: number;
  readonly events: TokenEvent[];
  started: boolean;
  end: SequenceEnd | null;
  endedAt: number;
};

export type WitnessedEngine = {
  readonly engine: Engine;
  readonly time: VirtualTime;
  readonly witnesses: readonly Witness[];
  readonly merges: Merges;
  /** Events of merges, in order. */
  readonly mergeEvents: readonly MergeEvent[];
  /** Wakes the engine for changes from outside it, such as pages of the decoder. */
  wake(): void;
  add(
    promptTokens: readonly number[],
    params?: Partial<SamplingParams>,
    adapters?: readonly AppliedAdapter[],
    share?: Share,
    more?: Pick<SequenceRequest, 'promptLogprobs' | 'cacheSalt' | 'pooling' | 'mergeKey'>,
  ): Witness;
  /** Runs one step and checks that the books balance after it. */
  step(): Promise<StepEvent>;
  /** Runs a step where the engine's process would run one, then gives the event loop its turn. */
  turn(): Promise<void>;
  /** Takes turns until no work is left. Fails where the engine sleeps while sequences wait. */
  drain(): Promise<void>;
  /** Takes turns until nothing is left to be merged or released. */
  mergesSettled(): Promise<void>;
  /** Called after the last sequence: waits for loads that still run, and checks that nothing is held. */
  settle(): Promise<void>;
  /** Adapters copied into pages, and adapters dropped from memory. */
  readonly copies: number;
  readonly evictions: number;
  readonly preemptions: number;
  readonly speculation: SpeculationStats | null;
};

/**
 * Turns of the event loop without a step until an engine with work counts as asleep; most of them take a millisecond.
 */
// A merge computes on threads of the idle class, which other programs may hold up for long.
const idleTurnsMax = 60_000;
const quickTurns = 200;

/** Wakes the loop when a command comes, as the engine's process does. */
class WokenEngine extends Engine {
  readonly #wake: () => void;

  constructor(wake: () => void, options: EngineOptions) {
    super(options);
    this.#wake = wake;
  }

  override add(request: SequenceRequest): void {
    super.add(request);
    this.#wake();
  }

  override abort(id: number): void {
    super.abort(id);
    this.#wake();
  }

  override merge(request: MergeRequest): void {
    super.merge(request);
    this.#wake();
  }

  override unmerge(key: string): void {
    super.unmerge(key);
    this.#wake();
  }
}

export type WitnessedMerges = {
  readonly arithmetic?: MergeArithmetic;
  readonly bytesMax?: number;
  readonly onMerges?: EngineOptions['onMerges'];
  readonly speculation?: EngineOptions['speculation'];
  readonly pastTextBytes?: number;
};

type StepEvent = Extract<EngineEvent, { type: 'step' }>;

/**
 * @param storeOf makes the adapters that sequences may use; it calls `wake` where the engine's process would be woken
 */
export function witnessedEngine(
  decoder: Decoder,
  prefillChunk: number,
  storeOf: (time: VirtualTime, wake: () => void) => AdapterStore = (clock, onChange) =>
    markedStore({ clock, onChange }),
  { arithmetic = markedArithmetic(), bytesMax = 0, onMerges = 'always', ...ahead }: WitnessedMerges = {},
): WitnessedEngine {
  const time = virtualTime();
  let isWoken = true;
  let copies = 0;
  let preemptions = 0;
  let guessed: SpeculationStats | null = null;
  let idleTurns = 0;
  const wake = () => {
    isWoken = true;
  };
  const adapters = storeOf(time, wake);
  const witnesses: Witness[] = [];
  let last: StepEvent | null = null;
  const emit = (event: StepEvent) => {
    last = event;
    copies += event.loads.filter(({ tier }) => tier === 'memory').length;
    const { running, kvUsage } = event.stats;
    preemptions = event.stats.preemptions;
    guessed = event.stats.speculation ?? null;
    assert.ok(running <= decoder.kv.rows && kvUsage >= 0 && kvUsage <= 1, `${running} running, KV ${kvUsage}`);
    for (const id of event.started) {
      assert.deepEqual([witnesses[id]!.started, witnesses[id]!.end], [false, null]);
      witnesses[id]!.started = true;
    }
    for (const token of event.tokens) {
      const witness = witnesses[token.id]!;
      assert.deepEqual([witness.started, witness.end], [true, null]);
      witness.events.push(token);
    }
    for (const end of event.ended) {
      const witness = witnesses[end.id]!;
      assert.equal(witness.end, null, `sequence ${end.id} ended twice`);
      assert.equal(end.completionTokens, witness.events.length);
      witness.end = end;
      witness.endedAt = time.monotonic();
    }
  };
  const mergeEvents: MergeEvent[] = [];
  const merges = new Merges({
    ...{ decoder, adapters, arithmetic, bytesMax, clock: time, onChange: wake },
    breath: { take: async () => {} },
    emit: (event) => void mergeEvents.push(event),
  });
  const engine = new WokenEngine(wake, {
    ...{ decoder, adapters, merges, onMerges, ...ahead, prefillChunk, clock: time, emit },
    freshSeed: () => 1,
  });
  const step = async () => {
    last = null;
    await engine.step();
    engine.checkIntegrity();
    assert.ok(last, 'a step without its event');
    return last;
  };
  const turn = async () => {
    if (engine.busy || isWoken) {
      isWoken = false;
      idleTurns = 0;
      await engine.step();
      engine.checkIntegrity();
    } else assert.ok(idleTurns++ < idleTurnsMax, 'the engine sleeps, and sequences wait');
    // Files are read on other threads, which turns alone would outrun.
    await (idleTurns < quickTurns ? nextTurn() : sleep(1));
  };
  return {
    engine,
    time,
    witnesses,
    merges,
    mergeEvents,
    wake,
    step,
    turn,
    add(promptTokens, params = {}, adapters = [], share = commonShare, more = {}) {
      const request = {
        id: witnesses.length,
        promptTokens,
        params: { ...greedy, ...params },
        adapters,
        share,
        ...more,
      };
      const witness: Witness = {
        request,
        addedAt: time.monotonic(),
        events: [],
        started: false,
        end: null,
        endedAt: Number.NaN,
      };
      witnesses.push(witness);
      engine.add(request);
      return witness;
    },
    async drain() {
      while (!engine.idle) await turn();
    },
    async mergesSettled() {
      while (merges.isWorking) await turn();
    },
    async settle() {
      while (merges.isWorking) await turn();
      for (let i = 0; i < quickTurns; i++) await nextTurn();
      assert.ok(engine.idle);
      engine.checkIntegrity();
      assert.equal(decoder.pages.used, 0);
    },
    get copies() {
      return copies;
    },
    get preemptions() {
      return preemptions;
    },
    get speculation() {
      return guessed;
    },
    get evictions() {
      return adapters.evictions;
    },
  };
}

export const tokensOf = ({ events }: Witness): number[] => events.map(({ token }) => token);

/** The lead of the best logit over the second at each token; the sequence must have asked for two log-probabilities. */
export function marginsOf({ events }: Witness): number[] {
  return events.map(({ logprobs }) => logprobs!.top[0]![1] - logprobs!.top[1]![1]);
}
