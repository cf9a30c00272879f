// An engine without a model: it takes sequences into slots and emits scripted tokens step by step, so that tests and
// the HTTP bench see the same order of events as from the real engine, and can make it fail.

import { mergeKey } from '../../src/core/adapter.ts';
import { LorikeetError } from '../../src/core/errors.ts';
import { limits } from '../../src/core/limits.ts';
import { AdapterTiers } from '../../src/protocol/adapter-tiers.ts';
import type { EngineClient, EngineState, SequenceListener, StepListener } from '../../src/protocol/engine-client.ts';
import {
  type AdapterLoad,
  type AdapterStats,
  type EngineStats,
  type FinishReason,
  type MergeEvent,
  type MergeRequest,
  noAdapters,
  type SequenceEnd,
  type SequenceRequest,
  type WeightBits,
} from '../../src/protocol/messages.ts';
import { tinyShape } from '../models/model-folder.ts';

type Asked = Omit<SequenceRequest, 'id'>;

export type FakeEngineOptions = {
  /** Sequences that run at once; others wait. */
  readonly slots?: number;
  /** Sequences that may wait; one more is `server_overloaded`. */
  readonly waitingMax?: number;
  readonly maxContext?: number;
  readonly vocabulary?: number;
  /** Milliseconds between steps. 0 steps on the next turn of the event loop; null only when `step` is called. */
  readonly stepMs?: number | null;
  /**
   * What a sequence generates. At the script's end the sequence stops, as if the model had emitted the first stop
   * token; without any stop token (`ignore_eos`) the script starts over.
   */
  readonly script?: (sequence: Asked) => Iterable<number>;
  readonly adapterStats?: AdapterStats;
};

export type FakeEngine = EngineClient & {
  state: EngineState;
  /** Everything that was submitted, oldest first. */
  readonly submitted: Asked[];
  /** How sequences ended, oldest first. */
  readonly ended: FinishReason[];
  /** What the next submits throw; null: they are accepted. */
  refusal: Error | null;
  /** Milliseconds until a sequence could start: requests that wait for less are refused. */
  readyInMs: number;
  /** Merges that are wanted, by key, oldest first. */
  readonly merges: ReadonlyMap<string, MergeRequest>;
  /** Keys of all requests for merges, repeated ones included, oldest first. */
  readonly mergesAsked: readonly string[];
  /** Shares of the time that it was asked to leave to training, oldest first. */
  readonly rooms: readonly number[];
  /** Sends an event of a merge. Sequences on weights that an event has called merged say that they ran on them. */
  tellMerge(event: MergeEvent): void;
  /** Whether `unmerge` is answered at once, which is the default; a test that wants sequences to drain turns it off. */
  unmergesAtOnce: boolean;
  /** The error of sequences that start from now on; null: none. */
  failure: NonNullable<SequenceEnd['error']> | null;
  /** The tiers in which adapters are. */
  readonly tiers: AdapterTiers;
  /** Adds a load of an adapter that the next step reports. */
  load(load: AdapterLoad): void;
  step(): void;
  /** Ends the process: running sequences end with `engine_failed`, waiting ones stay, and no step is taken. */
  crash(): void;
  /** Starts the process again. */
  recover(): void;
};

type Row = {
  readonly id: number;
  readonly asked: Asked;
  readonly listener: SequenceListener;
  tokens: Iterator<number>;
  generated: number;
  aborted: boolean;
};

/** Log-probabilities of prompt tokens: -1 for every token, null for the first. */
const promptLogprobs = ({ promptTokens }: Asked) =>
  promptTokens.map((_, i) => (i === 0 ? null : { logprob: -1, top: [[97, -1] as const] }));

export function fakeEngine(options: FakeEngineOptions = {}): FakeEngine {
  const { slots = 16, waitingMax = limits.waitingRequests, stepMs = 0, vocabulary = 260 } = options;
  const script = options.script ?? (() => Buffer.from('Hello from the fake engine.'));
  let nextId = 0;
  const submitted: Asked[] = [];
  const ended: FinishReason[] = [];
  const stepListeners: StepListener[] = [];
  const loads: AdapterLoad[] = [];
  const merges = new Map<string, MergeRequest>();
  const mergeListeners: ((event: MergeEvent) => void)[] = [];
  const mergesAsked: string[] = [];
  const rooms: number[] = [];
  const mergedBits = new Map<string, WeightBits>();
  const tellMerge = (event: MergeEvent) => {
    if (event.state === 'merged') mergedBits.set(event.key, event.bits);
    if (event.state === 'unmerged') mergedBits.delete(event.key);
    for (const listener of mergeListeners) listener(event);
  };
  let waiting: Row[] = [];
  let running: Row[] = [];
  let steps = 0;
  let stepTokens = 0;
  let scheduled: { cancel(): void } | null = null;

  const stats = (): EngineStats => ({
    running: running.length,
    waiting: waiting.length,
    kvUsage: running.length / slots,
    preemptions: 0,
    steps,
    stepMs: stepMs ?? 0,
    stepTokens,
    adapters: options.adapterStats ?? noAdapters,
  });

  function end(
    row: Row,
    reason: FinishReason,
    rest: Pick<SequenceEnd, 'error' | 'embedding'> & { stopToken?: number } = {},
  ) {
    ended.push(reason);
    row.listener.onEnd({
      id: row.id,
      reason,
      stopToken: rest.stopToken ?? null,
      ...(rest.error ? { error: rest.error } : {}),
      promptTokens: row.asked.promptTokens.length,
      completionTokens: row.generated,
      ...(rest.embedding ? { embedding: rest.embedding } : {}),
      ...(row.asked.promptLogprobs === undefined ? {} : { promptLogprobs: promptLogprobs(row.asked) }),
      cachedTokens: 0,
      mergedBits: mergedBits.get(row.asked.mergeKey ?? mergeKey(row.asked.adapters)) ?? null,
      timings: { queueMs: 1, prefillMs: 2, decodeMs: 3 },
    });
  }

  /** @returns whether the row continues. */
  function advance(row: Row): boolean {
    if (engine.failure !== null) {
      end(row, 'error', { error: engine.failure });
      return false;
    }
    const { params, pooling, promptTokens } = row.asked;
    if (pooling !== undefined) {
      end(row, 'stop', { embedding: Float32Array.of(0.6, 0.8, promptTokens[0]! / 1000) });
      return false;
    }
    let next = row.tokens.next();
    if (next.done && params.stopTokens.length === 0) {
      row.tokens = script(row.asked)[Symbol.iterator]();
      next = row.tokens.next();
    }
    const token = next.done ? params.stopTokens[0] : next.value;
    if (token === undefined || params.stopTokens.includes(token)) {
      end(row, 'stop', token === undefined ? {} : { stopToken: token });
      return false;
    }
    row.generated++;
    row.listener.onToken(
      params.logprobs === null
        ? { id: row.id, token }
        : { id: row.id, token, logprobs: { logprob: -0.5, top: alternatives(token, params.logprobs, vocabulary) } },
    );
    if (row.generated < params.maxTokens) return true;
    end(row, 'length');
    return false;
  }

  function step() {
    steps++;
    stepTokens = 0;
    for (const row of [...waiting, ...running]) if (row.aborted) end(row, 'abort');
    waiting = waiting.filter((row) => !row.aborted);
    running = running.filter((row) => !row.aborted);
    for (const row of waiting.splice(0, slots - running.length)) {
      running.push(row);
      stepTokens += row.asked.promptTokens.length;
      row.listener.onStart?.();
    }
    stepTokens += running.filter(({ generated }) => generated > 0).length;
    running = running.filter(advance);
    const now = stats();
    const loaded = loads.splice(0);
    for (const listener of stepListeners) listener(now, loaded);
  }

  function schedule() {
    if (stepMs === null || scheduled !== null || engine.state !== 'ready') return;
    const run = () => {
      scheduled = null;
      step();
      if (running.length + waiting.length > 0) schedule();
    };
    if (stepMs === 0) {
      const immediate = setImmediate(run);
      scheduled = { cancel: () => clearImmediate(immediate) };
    } else {
      const timer = setTimeout(run, stepMs);
      scheduled = { cancel: () => clearTimeout(timer) };
    }
  }

  function stop(state: EngineState, error: NonNullable<SequenceEnd['error']>, rows: readonly Row[]) {
    engine.state = state;
    scheduled?.cancel();
    scheduled = null;
    for (const row of rows) end(row, 'error', { error });
  }

  const tiers = new AdapterTiers();
  let restarts = 0;
  const engine: FakeEngine = {
    state: 'ready',
    info: {
      model: 'fake',
      digest: `sha256:${'0'.repeat(64)}`,
      shape: { ...tinyShape, vocabulary },
      maxContext: options.maxContext ?? 512,
      maxSequences: slots,
      kv: { blockTokens: 32, blocks: slots * 16 },
      threads: 1,
      device: 'cpu',
      weightBits: 32,
      loadMs: 0,
      weightsCached: false,
    },
    get stats() {
      return stats();
    },
    get restarts() {
      return restarts;
    },
    get engines() {
      const state = engine.state === 'starting' || engine.state === 'restarting' ? engine.state : 'ready';
      const problem = state === 'ready' ? null : 'It is away.';
      return [{ name: 'cpu', state, problem, restarts, pid: null, stats: stats() } as const];
    },
    submitted,
    ended,
    refusal: null,
    readyInMs: 0,
    failure: null,
    tiers,
    tierOf: (digest) => tiers.of(digest),
    load: (load) => void loads.push(load),
    assertRoom(_share, { timeoutMs = Number.POSITIVE_INFINITY } = {}) {
      if (engine.refusal !== null) throw engine.refusal;
      if (engine.state === 'draining') throw new LorikeetError('server_draining');
      if (engine.state === 'starting' || engine.state === 'stopped') throw new LorikeetError('engine_unavailable');
      if (waiting.length >= waitingMax || timeoutMs < engine.readyInMs) throw new LorikeetError('server_overloaded');
    },
    submit(asked, listener) {
      engine.assertRoom(asked.share, asked);
      const tokens = script(asked)[Symbol.iterator]();
      const row: Row = { id: nextId++, asked, listener, tokens, generated: 0, aborted: false };
      submitted.push(asked);
      waiting.push(row);
      schedule();
      return () => {
        row.aborted = true;
        schedule();
      };
    },
    merges,
    tellMerge,
    mergesAsked,
    rooms,
    unmergesAtOnce: true,
    merge(request) {
      mergesAsked.push(request.key);
      merges.set(request.key, request);
    },
    unmerge(key) {
      merges.delete(key);
      if (engine.unmergesAtOnce) tellMerge({ key, state: 'unmerged' });
    },
    leaveRoom: (share) => void rooms.push(share),
    onMerge: (listener) => void mergeListeners.push(listener),
    onStep: (listener) => void stepListeners.push(listener),
    step,
    crash() {
      restarts++;
      for (const key of mergedBits.keys()) tellMerge({ key, state: 'merging', progress: 0 });
      mergedBits.clear();
      tiers.engineDied();
      const rows = running;
      running = [];
      stop(
        'restarting',
        { code: 'engine_failed', message: 'The engine stopped while it worked on this request.' },
        rows,
      );
    },
    recover() {
      engine.state = 'ready';
      if (running.length + waiting.length > 0) schedule();
    },
    async close() {
      const rows = [...running, ...waiting];
      running = [];
      waiting = [];
      stop('stopped', { code: 'server_draining', message: 'The server is shutting down.' }, rows);
    },
  };
  return engine;
}

/** The chosen token first, then the tokens after it, each half as likely as the one before. */
function alternatives(token: number, count: number, vocabulary: number): (readonly [number, number])[] {
  return Array.from({ length: count }, (_, i) => [(token + i) % vocabulary, -0.5 - i * Math.LN2]);
}
