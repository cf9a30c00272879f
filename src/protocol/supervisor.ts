// Keeps engine processes alive and distributes sequences over them, as a single engine. It decides admission, which
// engine takes a sequence, and what becomes of a dead engine's sequences. Processes, clock and timers come from
// outside, so that a simulation can drive it. Knows no HTTP and no meaning of tokens.

import { mergeKey } from '../core/adapter.ts';
import { errorTable, LorikeetError } from '../core/errors.ts';
import { commonShare, type Share } from '../core/share.ts';
import { type AdapterTier, nearest } from './adapter-tiers.ts';
import { AdmissionControl } from './admission-control.ts';
import type { EngineClient, EngineReport, EngineState, SequenceListener, StepListener } from './engine-client.ts';
import { joinInfo, joinStats } from './engine-stats.ts';
import { ManagedEngine, type NamedConfig, type StepEvent } from './managed-engine.ts';
import { MergeBoard } from './merge-board.ts';
import type { EngineInfo, EngineStats, MergeEvent, MergeRequest, SequenceRequest } from './messages.ts';
import { type Candidate, full, patienceOf, placeOf } from './placement.ts';
import { Quarantine } from './quarantine.ts';
import { type Failure, SequenceBook } from './sequence-book.ts';
import type { SupervisorOptions } from './supervisor-options.ts';

export type SupervisedEngine = EngineClient & {
  /**
   * Resolves when each engine has started or has given up, with what holds for all that started. Rejects where none
   * started, with the first engine's cause.
   */
  readonly ready: Promise<EngineInfo>;
};

export function superviseEngine(options: SupervisorOptions): SupervisedEngine {
  return new Supervisor(options);
}

class Supervisor implements SupervisedEngine {
  info: EngineInfo | null = null;
  readonly ready: Promise<EngineInfo>;

  readonly #options: SupervisorOptions;
  readonly #engines: readonly ManagedEngine[];
  readonly #book: SequenceBook;
  readonly #board: MergeBoard;
  readonly #quarantine = new Quarantine();
  readonly #admission: AdmissionControl;
  readonly #stepListeners: StepListener[] = [];
  readonly #mergeListeners: ((event: MergeEvent) => void)[] = [];
  readonly #settleReady: PromiseWithResolvers<EngineInfo>;
  #ending: 'draining' | 'stopped' | null = null;
  #closing: Promise<void> | null = null;
  #onIdle: (() => void) | null = null;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#admission = new AdmissionControl(options.limits);
    this.#book = new SequenceBook((error) => options.log.error({ err: error }, 'a sequence listener failed'));
    this.#settleReady = Promise.withResolvers();
    this.ready = this.#settleReady.promise;
    // Callers await `ready`; a rejection that nobody awaits must not end the server.
    this.ready.catch(() => {});
    this.#engines = named(options.configs).map((config) => this.#manage(config));
    this.#board = new MergeBoard({
      engines: this.#engines.length,
      isReady: (i) => this.#engines[i]!.isReady,
      unmerge: (i, key) => this.#engines[i]!.unmerge(key),
      tell: (event) => {
        for (const listener of this.#mergeListeners) listener(event);
      },
    });
    for (const [i, { merges }] of this.#engines.entries()) merges.listen((event) => this.#board.heard(i, event));
    for (const engine of this.#engines) engine.start();
  }

  #manage(config: NamedConfig): ManagedEngine {
    const engine: ManagedEngine = new ManagedEngine(config, this.#options, {
      onReady: () => this.#onReady(),
      onStep: (event) => this.#onStep(engine, event),
      onDied: () => this.#onDied(engine),
      onGivenUp: () => this.#onGivenUp(engine),
    });
    return engine;
  }

  get state(): EngineState {
    if (this.#ending !== null) return this.#ending;
    if (this.#engines.some(({ isReady }) => isReady)) return 'ready';
    return this.info === null ? 'starting' : 'restarting';
  }

  get restarts(): number {
    return this.#engines.reduce((sum, { restarts }) => sum + restarts, 0);
  }

  get engines(): readonly EngineReport[] {
    return this.#engines.map(({ report }) => report);
  }

  get stats(): EngineStats {
    const resident = new Set(this.#engines.flatMap((engine) => [...engine.resident]));
    const each = this.#engines.map(({ stats, info }) => ({ stats, slots: info?.maxSequences ?? 0 }));
    return { ...joinStats(each, resident.size), running: this.#book.running, waiting: this.#book.waiting };
  }

  tierOf(digest: string): AdapterTier {
    return nearest(this.#engines.map((engine) => engine.tierOf(digest)));
  }

  onStep(listener: StepListener): void {
    this.#stepListeners.push(listener);
  }

  merge(request: MergeRequest): void {
    this.#board.wanted(request.key);
    for (const engine of this.#engines) engine.merge(request);
  }

  unmerge(key: string): void {
    this.#board.unmerge(key);
  }

  leaveRoom(share: number): void {
    for (const engine of this.#engines) engine.leaveRoom(share);
  }

  onMerge(listener: (event: MergeEvent) => void): void {
    this.#mergeListeners.push(listener);
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
    this.#send(id);
    return () => this.#abort(id);
  }

  /** While engines are restarting, requests wait for one as they would for a slot. */
  assertRoom(
    share: Share = commonShare,
    { promptTokens = [], params, timeoutMs = Number.POSITIVE_INFINITY }: Partial<SequenceRequest> = {},
  ): void {
    if (this.#ending !== null) throw new LorikeetError('server_draining');
    const areGivenUp = this.#engines.every(({ isGivenUp }) => isGivenUp);
    if (this.info === null || areGivenUp) {
      throw new LorikeetError('engine_unavailable', {
        message: `The engine is not ready. ${this.#engines[0]!.failure.message}`,
        retryAfterSeconds: areGivenUp ? Math.ceil(this.#options.limits.openDelayMs / 1000) : 5,
      });
    }
    const slots = slotsOf(this.#takers) || this.info.maxSequences;
    // For a request whose prompt is not read yet the least is assumed.
    const asked = { share, promptTokens: promptTokens.length, maxTokens: params?.maxTokens ?? 0, timeoutMs };
    this.#admission.assertRoom(this.#book.load, { ...asked, slots, now: this.#now() });
  }

  /**
   * Ends a sequence at its deadline. The engine aborts it too; the end is told here, so that the answer comes in time
   * whatever the engine does.
   */
  #expire(id: number): void {
    const progress = this.#book.progress(id);
    if (progress !== null) this.#learn(progress, this.#book.running, false);
    this.#engineOf(id)?.send({ type: 'abort', id });
    this.#endAll([id], { code: 'deadline_exceeded', message: errorTable.deadline_exceeded.message });
  }

  #learn(progress: NonNullable<ReturnType<SequenceBook['progress']>>, rows: number, isWhole: boolean): void {
    const { startedAt, ...done } = progress;
    this.#admission.ended({ ...done, ms: this.#now() - startedAt, rows, isWhole });
  }

  #abort(id: number): void {
    if (!this.#book.abort(id)) return;
    const engine = this.#engineOf(id);
    if (engine === null) this.#endAll([id], { code: 'engine_failed', message: 'Aborted.' });
    else engine.send({ type: 'abort', id });
  }

  // --- which engine takes what ---

  get #takers(): readonly ManagedEngine[] {
    return this.#engines.filter(({ isReady }) => isReady);
  }

  #engineOf(id: number): ManagedEngine | null {
    const load = this.#book.engineOf(id);
    return this.#engines.find((engine) => engine.load === load) ?? null;
  }

  /** Gives a held sequence to the best engine; where no engine is ready, it stays held. */
  #send(id: number): void {
    const takers = this.#takers;
    if (takers.length === 0) return;
    const sequence = this.#book.sequence(id);
    const engine = takers[placeOf(takers.map((one) => this.#candidate(one, sequence)))]!;
    engine.send({ type: 'submit', sequence: this.#book.take(id, engine.load, this.#now()) });
  }

  #sendHeld(): void {
    for (const id of this.#book.ids('held')) this.#send(id);
  }

  #candidate(engine: ManagedEngine, sequence: SequenceRequest): Candidate {
    const { load, info, stats, resident } = engine;
    const slots = info!.maxSequences;
    const { pagesUsed, pagesTotal } = stats.adapters;
    return {
      isHome: this.#isHome(engine, sequence),
      starts: load.flows.startsBefore(sequence.share ?? commonShare, slots),
      slots,
      load: load.size / slots,
      kvUsage: stats.kvUsage,
      pageUsage: pagesTotal > 0 ? pagesUsed / pagesTotal : 0,
      resident: resident.size,
    };
  }

  #isHome(engine: ManagedEngine, { adapters, mergeKey: merge }: SequenceRequest): boolean {
    if (merge !== null && this.#board.isMade(this.#engines.indexOf(engine), merge ?? mergeKey(adapters))) return true;
    return adapters.every(({ files: { digest } }) => engine.load.wants(digest) || engine.tierOf(digest) !== 'disk');
  }

  /** Moves waiting sequences from full engines to free slots: first those whose adapter is there, the oldest first. */
  #balance(): void {
    if (this.#engines.length === 1 || this.#book.waiting === 0) return;
    const takers = this.#takers;
    const open = takers.filter((engine) => roomOf(engine) > 0);
    let free = open.reduce((sum, engine) => sum + roomOf(engine), 0) - this.#book.releasing;
    for (const crowded of takers) {
      const backlog = -roomOf(crowded);
      const most = Math.min(free, backlog);
      if (most <= 0) continue;
      const coldMax = Math.min(free, backlog - patienceOf(crowded.info!.maxSequences));
      const isAtHome = (one: SequenceRequest) => open.some((to) => this.#isHome(to, one));
      const moving = preferred(this.#book.waitingIn(crowded.load), isAtHome, most, coldMax);
      for (const { id } of moving) {
        this.#book.requestRelease(id);
        crowded.send({ type: 'release', id });
      }
      free -= moving.length;
    }
  }

  // --- what engines say ---

  #onReady(): void {
    const known = this.#engines.flatMap(({ info }) => info ?? []);
    this.info = joinInfo(known);
    this.#board.changed();
    this.#settle();
    this.#sendHeld();
    this.#balance();
  }

  #onStep({ stats }: ManagedEngine, event: StepEvent): void {
    const now = this.#now();
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
    for (const id of event.released ?? []) if (this.#book.comeBack(id, now)) this.#send(id);
    for (const listener of this.#stepListeners) listener(stats, event.loads);
    this.#balance();
    this.#tellIfIdle();
  }

  #onDied({ load, failure }: ManagedEngine): { lost: number; held: number } {
    this.#board.changed();
    const before = this.#book.size;
    const ended = { code: 'engine_failed', message: failure.message } as const;
    if (this.#ending === null) this.#quarantine.engineDied(this.#book.begun(load), this.#now());
    this.#book.engineDied(load, ended, this.#now());
    const lost = before - this.#book.size;
    this.#sendHeld();
    if (this.#ending !== null && !this.#engines.some(({ isAlive }) => isAlive)) this.#endAll(this.#book.ids(), ended);
    else this.#tellIfIdle();
    return { lost, held: this.#book.ids('held').length };
  }

  #onGivenUp({ failure }: ManagedEngine): void {
    this.#settle();
    if (!this.#engines.every(({ isGivenUp }) => isGivenUp)) return;
    this.#endAll(this.#book.ids(), { code: 'engine_unavailable', message: failure.message });
  }

  /** Settles `ready` once each engine has started or has given up. */
  #settle(): void {
    if (!this.#engines.every(({ info, isGivenUp }) => info !== null || isGivenUp)) return;
    const { code, message } = this.#engines[0]!.failure;
    if (this.info === null) this.#settleReady.reject(new LorikeetError(code, { message }));
    else this.#settleReady.resolve(this.info);
  }

  // --- the end ---

  close(graceMs: number): Promise<void> {
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  async #close(graceMs: number): Promise<void> {
    this.#ending = 'draining';
    for (const engine of this.#engines) engine.drain();
    this.#settleReady.reject(new LorikeetError('server_draining'));
    if (this.#engines.some(({ isAlive }) => isAlive)) await this.#idle(graceMs);
    this.#endAll(this.#book.ids(), {
      code: 'server_draining',
      message: 'The server shut down before this request was finished.',
    });
    await Promise.all(this.#engines.map((engine) => engine.stop()));
    this.#ending = 'stopped';
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

function named(configs: SupervisorOptions['configs']): NamedConfig[] {
  const devices = configs.map(({ device }) => device);
  const isAlone = (device: string) => devices.indexOf(device) === devices.lastIndexOf(device);
  return configs.map((config, i) => ({
    name: isAlone(config.device) ? config.device : `${config.device}/${i}`,
    config,
  }));
}

const slotsOf = (engines: readonly ManagedEngine[]): number =>
  engines.reduce((sum, { info }) => sum + (info?.maxSequences ?? 0), 0);

/**
 * Slots in which a sequence would start at once; a negative number counts the sequences that wait for others to end.
 */
function roomOf({ info, load, stats }: ManagedEngine): number {
  const { running, waiting } = load.flows;
  return running > 0 && stats.kvUsage >= full ? -waiting : info!.maxSequences - load.size;
}

/** Chooses up to `most` items for which `isPreferred` holds, and fills up with others to at most `othersMost`. */
function preferred<T>(all: Iterable<T>, isPreferred: (one: T) => boolean, most: number, othersMost: number): T[] {
  const [chosen, others]: [T[], T[]] = [[], []];
  for (const one of all) {
    if (chosen.length === most) break;
    if (isPreferred(one)) chosen.push(one);
    else others.push(one);
  }
  return [...chosen, ...others.slice(0, Math.max(0, othersMost - chosen.length))];
}
