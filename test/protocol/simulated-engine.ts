// An engine without a process. It does what the test says, one step at a time, and records its commands. The flow with
// the least service starts next, and adapters stay in a small memory while they are used.

import { commonShare } from '../../src/core/share.ts';
import type { EngineHandlers, EngineProcess } from '../../src/protocol/engine-process.ts';
import {
  type AdapterMove,
  type EngineCommand,
  type EngineConfig,
  type EngineInfo,
  type FinishReason,
  type MergeEvent,
  noAdapters,
  type SequenceEnd,
  type SequenceRequest,
} from '../../src/protocol/messages.ts';
import { tinyShape } from '../models/model-folder.ts';

export const testConfig: EngineConfig = {
  model: { name: 'test', kind: 'gguf', weights: [], sidecars: {}, digest: 'sha256:00', source: 'path' },
  weightBits: null,
  decodeActivations: 'int8',
  device: 'cpu',
  ortLibrary: null,
  threads: null,
  maxSequences: 2,
  maxContext: null,
  prefillChunk: 8,
  adapterBytes: 0,
  adapterPages: null,
  cacheDir: '/nowhere',
};

export const testInfo: EngineInfo = {
  model: 'test',
  digest: 'sha256:00',
  shape: tinyShape,
  maxContext: 64,
  maxSequences: 2,
  kv: { blockTokens: 32, blocks: 4 },
  threads: 1,
  device: 'cpu',
  weightBits: 4,
  loadMs: 1,
  weightsCached: false,
};

type Running = { readonly sequence: SequenceRequest; tokens: number };

export class SimulatedEngine implements EngineProcess {
  readonly pid = 1;
  readonly commands: EngineCommand[] = [];
  /** A process that hangs takes commands and never answers; SIGKILL still ends it. */
  hangs = false;
  /** The engine is between two steps, and says so when it is pinged. */
  waits = false;
  alive = true;
  readonly #handlers: EngineHandlers;
  #waiting: SequenceRequest[] = [];
  #running: Running[] = [];
  #steps = 0;
  #maxSequences = testInfo.maxSequences;
  /** Adapters that the memory holds; the least recently used one is dropped first. */
  adaptersMax = 4;
  readonly #memory = new Set<string>();
  /** Sequences that found their adapter in memory, and sequences that did not. */
  readonly adapters = { found: 0, loaded: 0 };
  /** Tokens served to each flow. */
  readonly served = new Map<number, number>();

  constructor(handlers: EngineHandlers) {
    this.#handlers = handlers;
  }

  /** Device name in the configuration. */
  get device(): string {
    const [first] = this.commands;
    return first?.type === 'start' ? first.config.device : '';
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  get submitted(): number[] {
    return this.commands.flatMap((command) => (command.type === 'submit' ? [command.sequence.id] : []));
  }

  send(command: EngineCommand): void {
    if (!this.alive) return;
    this.commands.push(command);
    if (command.type === 'submit') this.#waiting.push(command.sequence);
    if (command.type === 'ping' && this.waits && !this.hangs) this.#handlers.onEvent({ type: 'alive' });
    if (command.type === 'stop' && !this.hangs) this.die('ended with exit code 0');
  }

  kill(): void {
    this.die('was ended by SIGKILL');
  }

  ready(maxSequences = testInfo.maxSequences): void {
    this.#maxSequences = maxSequences;
    if (this.alive) this.#handlers.onEvent({ type: 'ready', info: { ...testInfo, maxSequences } });
  }

  get running(): number {
    return this.#running.length;
  }

  merge(event: MergeEvent): void {
    if (this.alive) this.#handlers.onEvent({ type: 'merge', merge: event });
  }

  fail(code: 'model_unsupported' | 'internal_error', message: string): void {
    this.#handlers.onEvent({ type: 'failed', code, message });
    this.die('ended with exit code 1');
  }

  die(reason = 'was ended by SIGSEGV'): void {
    if (!this.alive) return;
    this.alive = false;
    this.#handlers.onExit(reason);
  }

  #takeReleased(): number[] {
    const asked = new Set(this.commands.flatMap((command) => (command.type === 'release' ? [command.id] : [])));
    const released = this.#waiting.filter(({ id }) => asked.has(id));
    this.#waiting = this.#waiting.filter(({ id }) => !asked.has(id));
    return released.map(({ id }) => id);
  }

  #start(): SequenceRequest[] {
    const started: SequenceRequest[] = [];
    while (this.#waiting.length > 0 && this.#running.length + started.length < this.#maxSequences) {
      const served = (one: SequenceRequest) => this.served.get(flowOf(one)) ?? 0;
      const next = this.#waiting.reduce((best, one) => (served(one) < served(best) ? one : best));
      this.#waiting = this.#waiting.filter((one) => one !== next);
      started.push(next);
      this.#serve(next, next.promptTokens.length);
    }
    return started;
  }

  #serve(sequence: SequenceRequest, tokens: number): void {
    this.served.set(flowOf(sequence), (this.served.get(flowOf(sequence)) ?? 0) + tokens);
  }

  #load({ adapters }: SequenceRequest): AdapterMove[] {
    const moves: AdapterMove[] = [];
    for (const { files } of adapters) {
      const { digest } = files;
      this.adapters[this.#memory.delete(digest) ? 'found' : 'loaded']++;
      this.#memory.add(digest);
      moves.push({ digest, place: 'memory', isThere: true });
      if (this.#memory.size <= this.adaptersMax) continue;
      const [oldest] = this.#memory;
      this.#memory.delete(oldest!);
      moves.push({ digest: oldest!, place: 'memory', isThere: false });
    }
    return moves;
  }

  /** Runs a step: ends aborted sequences, fills the slots, and gives every running sequence a token. */
  step(): void {
    if (!this.alive || this.hangs) return;
    const aborted = new Set(this.commands.flatMap((command) => (command.type === 'abort' ? [command.id] : [])));
    const ended: SequenceEnd[] = [];
    this.#waiting = this.#waiting.filter((sequence) => {
      if (aborted.has(sequence.id)) ended.push(end(sequence, 'abort', 0));
      return !aborted.has(sequence.id);
    });
    const released = this.#takeReleased();
    const started = this.#start();
    const moves = started.flatMap((sequence) => this.#load(sequence));
    this.#running.push(...started.map((sequence) => ({ sequence, tokens: 0 })));
    const tokens = [];
    const still: Running[] = [];
    for (const row of this.#running) {
      const { sequence } = row;
      if (aborted.has(sequence.id)) {
        ended.push(end(sequence, 'abort', row.tokens));
        continue;
      }
      row.tokens++;
      this.#serve(sequence, 2);
      tokens.push({ id: sequence.id, token: row.tokens });
      if (row.tokens >= sequence.params.maxTokens) ended.push(end(sequence, 'length', row.tokens));
      else still.push(row);
    }
    this.#running = still;
    this.#steps++;
    const counts = { running: still.length, waiting: this.#waiting.length, steps: this.#steps };
    const stats = { ...counts, kvUsage: 0, preemptions: 0, stepMs: 1, stepTokens: tokens.length, adapters: noAdapters };
    this.#handlers.onEvent({
      type: 'step',
      started: started.map(({ id }) => id),
      tokens,
      ended,
      released,
      loads: [],
      moves,
      stats,
    });
  }
}

const flowOf = ({ share = commonShare }: SequenceRequest): number => share.flow;

const end = (sequence: SequenceRequest, reason: FinishReason, completionTokens: number): SequenceEnd => ({
  id: sequence.id,
  reason,
  stopToken: null,
  promptTokens: sequence.promptTokens.length,
  completionTokens,
  cachedTokens: 0,
  timings: { queueMs: 0, prefillMs: 0, decodeMs: 0 },
});
