// Keeps one engine process alive and gives sequences to it. Decides admission, restart and the end of what an engine's
// death leaves behind; the process, the clock and the timers come from outside, so that a simulation can drive it.
// Knows no HTTP and no tokens' meaning.

import { errorTable, LorikeetError } from '../core/errors.ts';
import { commonShare, type Share } from '../core/share.ts';
import { type AdapterTier, AdapterTiers } from './adapter-tiers.ts';
import { AdmissionControl } from './admission-control.ts';
import type { EngineClient, EngineState, SequenceListener, StepListener } from './engine-client.ts';
import type { EngineProcess } from './engine-process.ts';
import { MergeBook } from './merge-book.ts';
import {
  type EngineEvent,
  type EngineInfo,
  type EngineStats,
  type MergeEvent,
  type MergeRequest,
  noAdapters,
  type SequenceRequest,
} from './messages.ts';
import { Quarantine } from './quarantine.ts';
import { nextRestart, noFailures, permanentCodes } from './restart-policy.ts';
import { type Failure, SequenceBook } from './sequence-book.ts';
import type { SupervisorOptions } from './supervisor-options.ts';

export type SupervisedEngine = EngineClient & {
  /** The first `ready`, or why there will be none: the engine named a cause, or died too often while it started. */
  readonly ready: Promise<EngineInfo>;
  /** null while no process lives. */
  readonly pid: number | null;
};

const idleStats: EngineStats = {
  running: 0,
  waiting: 0,
  kvUsage: 0,
  preemptions: 0,
  steps: 0,
  stepMs: 0,
  adapters: noAdapters,
};

export function superviseEngine(options: SupervisorOptions): SupervisedEngine {
  return new Supervisor(options);
}

class Supervisor implements SupervisedEngine {
  state: EngineState = 'starting';
  info: EngineInfo | null = null;
  restarts = 0;
  readonly ready: Promise<EngineInfo>;

  readonly #options: SupervisorOptions;
  readonly #book: SequenceBook;
  readonly #merges = new MergeBook();
  readonly #quarantine = new Quarantine();
  readonly #tiers = new AdapterTiers();
  readonly #admission: AdmissionControl;
  readonly #stepListeners: StepListener[] = [];
  readonly #settleReady: PromiseWithResolvers<EngineInfo>;
  #process: EngineProcess | null = null;
  #readyAt: number | null = null;
  #lastEventAt = 0;
  #stats = idleStats;
  #history = noFailures;
  #circuitOpen = false;
  #failure: Failure = { code: 'engine_unavailable', message: 'The engine is starting.' };
  /** What the engine said of its own failure before it died. */
  #said: Failure | null = null;
  #cancelRestart = () => {};
  #cancelWatch: (() => void) | null = null;
  #cancelStartLimit = () => {};
  #room = 0;
  #closing: Promise<void> | null = null;
  #onIdle: (() => void) | null = null;
  #onGone: (() => void) | null = null;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#admission = new AdmissionControl(options.limits);
    this.#book = new SequenceBook((error) => options.log.error({ err: error }, 'a sequence listener failed'));
    this.#settleReady = Promise.withResolvers();
    this.ready = this.#settleReady.promise;
    // Whoever wants to know awaits it; a rejection that nobody awaits must not end the server.
    this.ready.catch(() => {});
    this.#start();
  }

  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  get stats(): EngineStats {
    return { ...this.#stats, running: this.#book.running, waiting: this.#book.waiting };
  }

  tierOf(digest: string): AdapterTier {
    return this.#tiers.of(digest);
  }

  onStep(listener: StepListener): void {
    this.#stepListeners.push(listener);
  }

  merge(request: MergeRequest): void {
    if (this.#merges.add(request) && this.state === 'ready') this.#process?.send({ type: 'merge', merge: request });
  }

  unmerge(key: string): void {
    this.#merges.delete(key);
    if (this.state === 'ready') this.#process?.send({ type: 'unmerge', key });
    else this.#merges.tell({ key, state: 'unmerged' });
  }

  leaveRoom(share: number): void {
    this.#room = share;
    if (this.state === 'ready') this.#process?.send({ type: 'room', share });
  }

  onMerge(listener: (event: MergeEvent) => void): void {
    this.#merges.listen(listener);
  }

  submit(sequence: Omit<SequenceRequest, 'id'>, listener: SequenceListener): () => void {
    this.#quarantine.assertHarmless(sequence, this.#now());
    this.assertRoom(sequence.share, sequence);
    let cancel = () => {};
    const onEnd: SequenceListener['onEnd'] = (end) => {
      cancel();
      listener.onEnd(end);
    };
    const id = this.#book.add(sequence, { ...listener, onEnd }, this.#now());
    const { timeoutMs } = sequence;
    if (timeoutMs !== undefined) cancel = this.#options.timers.after(timeoutMs, () => this.#expire(id));
    if (this.state === 'ready') this.#send(id);
    return () => this.#abort(id);
  }

  /** While the engine restarts, requests wait for it as they would for a slot. */
  assertRoom(
    share: Share = commonShare,
    { promptTokens = [], params, timeoutMs = Number.POSITIVE_INFINITY }: Partial<SequenceRequest> = {},
  ): void {
    if (this.state === 'draining' || this.state === 'stopped') throw new LorikeetError('server_draining');
    if (this.info === null || this.#circuitOpen) {
      throw new LorikeetError('engine_unavailable', {
        message: `The engine is not ready. ${this.#failure.message}`,
        retryAfterSeconds: this.#circuitOpen ? Math.ceil(this.#options.limits.openDelayMs / 1000) : 5,
      });
    }
    const slots = this.info.maxSequences;
    const asked = { share, promptTokens: promptTokens.length, maxTokens: params?.maxTokens ?? null, timeoutMs };
    this.#admission.assertRoom(this.#book.load, { ...asked, slots, now: this.#now() });
  }

  /**
   * The engine takes no step for it either; it ends here, so that the answer comes in time whatever the engine does.
   */
  #expire(id: number): void {
    const progress = this.#book.progress(id);
    if (progress !== null) this.#learn(progress, this.#book.running, false);
    if (this.#book.state(id) !== 'held') this.#process?.send({ type: 'abort', id });
    this.#endAll([id], { code: 'deadline_exceeded', message: errorTable.deadline_exceeded.message });
  }

  #learn(progress: NonNullable<ReturnType<SequenceBook['progress']>>, rows: number, isWhole: boolean): void {
    const { startedAt, ...done } = progress;
    this.#admission.ended({ ...done, ms: this.#now() - startedAt, rows, isWhole });
  }

  #send(id: number): void {
    this.#process?.send({ type: 'submit', sequence: this.#book.take(id, this.#now()) });
    this.#watch();
  }

  #abort(id: number): void {
    if (!this.#book.abort(id)) return;
    if (this.#book.state(id) === 'held') this.#endAll([id], { code: 'engine_failed', message: 'Aborted.' });
    else this.#process?.send({ type: 'abort', id });
  }

  // --- the life of a process ---

  #start(): void {
    this.#said = null;
    this.#readyAt = null;
    const process = this.#options.startProcess({
      onEvent: (event) => this.#onEvent(event),
      onExit: (reason) => this.#onExit(reason),
    });
    this.#process = process;
    process.send({ type: 'start', config: this.#options.config });
    this.#cancelStartLimit = this.#options.timers.after(this.#options.limits.startMsMax, () => {
      this.#said ??= { code: 'engine_failed', message: 'The engine took too long to start.' };
      process.kill();
    });
  }

  #onEvent(event: EngineEvent): void {
    const now = this.#now();
    this.#lastEventAt = now;
    if (event.type === 'ready') this.#onReady(event.info);
    else if (event.type === 'failed') this.#said = { code: event.code, message: event.message };
    else if (event.type === 'merge') this.#merges.tell(event.merge);
    else if (event.type === 'alive') return;
    else {
      for (const id of event.started) {
        const since = this.#book.start(id, now);
        if (since !== null) this.#admission.started(now, since);
      }
      for (const token of event.tokens) this.#book.token(token, now);
      const rows = this.#book.running;
      for (const end of event.ended) {
        const { promptTokens, completionTokens, reason } = end;
        const startedAt = this.#book.end(end);
        if (startedAt === null) continue;
        const isWhole = reason === 'stop' || reason === 'length';
        this.#learn({ startedAt, promptTokens, completionTokens }, rows, isWhole);
      }
      this.#tiers.moved(event.moves);
      this.#stats = event.stats;
      const stats = this.stats;
      for (const listener of this.#stepListeners) listener(stats, event.loads);
      this.#tellIfIdle();
    }
  }

  #onReady(info: EngineInfo): void {
    this.#cancelStartLimit();
    this.info = info;
    this.#readyAt = this.#now();
    this.#circuitOpen = false;
    this.#history = { ...this.#history, startFailures: 0 };
    this.#settleReady.resolve(info);
    if (this.state !== 'starting' && this.state !== 'restarting') return;
    this.state = 'ready';
    if (this.#room > 0) this.#process?.send({ type: 'room', share: this.#room });
    for (const merge of this.#merges.wanted) this.#process?.send({ type: 'merge', merge });
    for (const id of this.#book.ids('held')) this.#send(id);
  }

  #onExit(reason: string): void {
    this.#cancelStartLimit();
    this.#cancelWatch?.();
    this.#cancelWatch = null;
    this.#process = null;
    this.#merges.engineDied();
    this.#tiers.engineDied();
    this.#stats = { ...idleStats, steps: this.#stats.steps };
    this.#failure = this.#said ?? { code: 'engine_failed', message: `The engine ${reason}.` };
    if (this.state === 'draining' || this.state === 'stopped') {
      this.#endAll(this.#book.ids(), { code: 'engine_failed', message: this.#failure.message });
      this.#onGone?.();
      return;
    }
    const lost = this.#book.size;
    this.state = this.info === null ? 'starting' : 'restarting';
    this.#quarantine.engineDied(this.#book.begun(), this.#now());
    this.#book.engineDied({ code: 'engine_failed', message: this.#failure.message }, this.#now());
    this.#restartLater(lost - this.#book.size);
  }

  #restartLater(lost: number): void {
    const { limits, log, timers } = this.#options;
    const readyMs = this.#readyAt === null ? null : this.#now() - this.#readyAt;
    const permanent = this.#said !== null && permanentCodes.has(this.#said.code);
    const { history, delayMs, open } = nextRestart(this.#history, readyMs, permanent, limits);
    this.#history = history;
    this.#circuitOpen = open;
    log.error({ ...this.#failure, lost, held: this.#book.size, restartInMs: delayMs }, 'the engine died');
    this.#cancelRestart = timers.after(delayMs, () => {
      this.restarts++;
      this.#start();
    });
    if (!open) return;
    const { code, message } = this.#failure;
    this.#settleReady.reject(new LorikeetError(code, { message }));
    this.#endAll(this.#book.ids(), { code: 'engine_unavailable', message });
  }

  /**
   * Looks twice per silent period, not once per step: a step costs the supervisor no timer. Half way it asks: an engine
   * whose sequences all wait for adapters says nothing of itself, and is no hang.
   */
  #watch(): void {
    if (this.#cancelWatch !== null) return;
    const { silentMsMax } = this.#options.limits;
    this.#lastEventAt = this.#now();
    const look = () => {
      this.#cancelWatch = null;
      if (this.#book.size === 0) return;
      const silentMs = this.#now() - this.#lastEventAt;
      if (silentMs < silentMsMax) {
        const isQuiet = silentMs >= silentMsMax / 2;
        if (isQuiet) this.#process?.send({ type: 'ping' });
        this.#cancelWatch = this.#options.timers.after((isQuiet ? silentMsMax : silentMsMax / 2) - silentMs, look);
        return;
      }
      this.#said = { code: 'engine_failed', message: `The engine was silent for ${Math.round(silentMs / 1000)} s.` };
      this.#process?.kill();
    };
    this.#cancelWatch = this.#options.timers.after(silentMsMax / 2, look);
  }

  // --- the end ---

  close(graceMs: number): Promise<void> {
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  async #close(graceMs: number): Promise<void> {
    this.#cancelRestart();
    this.state = 'draining';
    this.#settleReady.reject(new LorikeetError('server_draining'));
    if (this.#process !== null) await this.#idle(graceMs);
    this.#endAll(this.#book.ids(), {
      code: 'server_draining',
      message: 'The server shut down before this request was finished.',
    });
    if (this.#process !== null) await this.#stopProcess(this.#process);
    this.state = 'stopped';
  }

  #idle(graceMs: number): Promise<void> {
    if (this.#book.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = this.#options.timers.after(graceMs, resolve);
      this.#onIdle = () => {
        cancel();
        resolve();
      };
    });
  }

  #stopProcess(process: EngineProcess): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.timers.after(this.#options.limits.stopMsMax, () => process.kill());
      this.#onGone = () => {
        cancel();
        resolve();
      };
      if (this.#readyAt === null) process.kill();
      else process.send({ type: 'stop' });
    });
  }

  #endAll(ids: readonly number[], failure: Failure): void {
    for (const id of ids) this.#book.fail(id, failure, this.#now());
    this.#tellIfIdle();
  }

  #tellIfIdle(): void {
    if (this.#book.size === 0) this.#onIdle?.();
  }

  #now(): number {
    return this.#options.clock.monotonic();
  }
}
