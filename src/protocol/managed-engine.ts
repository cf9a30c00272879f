// Keeps one engine process alive: starts it, watches it, restarts it after it died, stops it. Knows the engine's merges
// and adapters; its sequences are the owner's matter.

import { type AdapterTier, AdapterTiers } from './adapter-tiers.ts';
import type { EngineReport } from './engine-client.ts';
import { EngineLoad } from './engine-load.ts';
import type { EngineProcess } from './engine-process.ts';
import { countsOf, idleStats, withPast } from './engine-stats.ts';
import { MergeBook } from './merge-book.ts';
import type { EngineCommand, EngineConfig, EngineEvent, EngineInfo, EngineStats, MergeRequest } from './messages.ts';
import { nextRestart, noFailures, permanentCodes } from './restart-policy.ts';
import type { Failure } from './sequence-book.ts';
import type { SupervisorOptions } from './supervisor-options.ts';

export type StepEvent = Extract<EngineEvent, { type: 'step' }>;

export type EngineOwner = {
  /** The engine takes sequences from now on. */
  onReady(): void;
  onStep(event: StepEvent): void;
  /** @returns numbers for the log: sequences lost with the engine, and sequences that wait for an engine */
  onDied(): { readonly lost: number; readonly held: number };
  /** The engine could not start, and is tried again only at long intervals. */
  onGivenUp(): void;
};

/** The configuration of an engine and a name that no other engine has. */
export type NamedConfig = { readonly name: string; readonly config: EngineConfig };

export class ManagedEngine {
  readonly load = new EngineLoad();
  readonly merges = new MergeBook();
  readonly #name: string;
  readonly #config: EngineConfig;
  /** null until the engine was ready for the first time. */
  info: EngineInfo | null = null;
  restarts = 0;
  isReady = false;
  isGivenUp = false;
  /** Why the engine is not ready. */
  failure: Failure = { code: 'engine_unavailable', message: 'The engine is starting.' };

  readonly #options: Omit<SupervisorOptions, 'configs'>;
  readonly #owner: EngineOwner;
  readonly #tiers = new AdapterTiers();
  #process: EngineProcess | null = null;
  #readyAt: number | null = null;
  #lastEventAt = 0;
  #stats = idleStats;
  /** Counters of the processes that have died. */
  #past = idleStats;
  #history = noFailures;
  /** The failure that the engine reported before it died. */
  #said: Failure | null = null;
  #room = 0;
  #cancelRestart = () => {};
  #cancelWatch: (() => void) | null = null;
  #cancelStartLimit = () => {};
  /** Called when the last process has ended. */
  #onGone: (() => void) | null = null;
  #isStopping = false;

  constructor({ name, config }: NamedConfig, options: Omit<SupervisorOptions, 'configs'>, owner: EngineOwner) {
    this.#name = name;
    this.#config = config;
    this.#options = options;
    this.#owner = owner;
  }

  get pid(): number | null {
    return this.#process?.pid ?? null;
  }

  /** The engine's last statistics, with running and waiting sequences as the server counts them. */
  get stats(): EngineStats {
    const { running, waiting } = this.load.flows;
    return { ...withPast(this.#stats, this.#past), running, waiting };
  }

  get report(): EngineReport {
    const state = this.isReady ? 'ready' : this.info === null ? 'starting' : 'restarting';
    const problem = this.isReady ? null : this.failure.message;
    return { name: this.#name, state, problem, restarts: this.restarts, pid: this.pid, stats: this.stats };
  }

  tierOf(digest: string): AdapterTier {
    return this.#tiers.of(digest);
  }

  /** Digests of adapters, and keys of combinations, in the engine's memory. */
  get resident(): ReadonlySet<string> {
    return this.#tiers.resident;
  }

  start(): void {
    this.#said = null;
    this.#readyAt = null;
    const process = this.#options.startProcess({
      onEvent: (event) => this.#onEvent(event),
      onExit: (reason) => this.#onExit(reason),
    });
    this.#process = process;
    process.send({ type: 'start', config: this.#config });
    this.#cancelStartLimit = this.#options.timers.after(this.#options.limits.startMsMax, () => {
      this.#said ??= { code: 'engine_failed', message: 'The engine took too long to start.' };
      process.kill();
    });
  }

  /** Sends a command; while no process lives, the command is dropped. */
  send(command: Exclude<EngineCommand, { type: 'start' | 'stop' | 'ping' | 'merge' | 'unmerge' | 'room' }>): void {
    this.#process?.send(command);
    if (command.type === 'submit') this.#watch();
  }

  merge(request: MergeRequest): void {
    if (this.merges.add(request) && this.isReady) this.#process?.send({ type: 'merge', merge: request });
  }

  unmerge(key: string): void {
    this.merges.delete(key);
    if (this.isReady) this.#process?.send({ type: 'unmerge', key });
    else this.merges.record({ key, state: 'unmerged' });
  }

  leaveRoom(share: number): void {
    this.#room = share;
    if (this.isReady) this.#process?.send({ type: 'room', share });
  }

  #onEvent(event: EngineEvent): void {
    this.#lastEventAt = this.#now();
    if (event.type === 'ready') this.#onReady(event.info);
    else if (event.type === 'failed') this.#said = { code: event.code, message: event.message };
    else if (event.type === 'merge') this.merges.record(event.merge);
    else if (event.type === 'step') {
      this.#tiers.moved(event.moves);
      this.#stats = event.stats;
      this.#owner.onStep(event);
    }
  }

  #onReady(info: EngineInfo): void {
    this.#cancelStartLimit();
    this.info = info;
    this.#readyAt = this.#now();
    this.isGivenUp = false;
    this.#history = { ...this.#history, startFailures: 0 };
    if (this.#isStopping) return;
    this.isReady = true;
    if (this.#room > 0) this.#process?.send({ type: 'room', share: this.#room });
    for (const merge of this.merges.wanted) this.#process?.send({ type: 'merge', merge });
    this.#owner.onReady();
  }

  #onExit(reason: string): void {
    this.#cancelStartLimit();
    this.#cancelWatch?.();
    this.#cancelWatch = null;
    this.#process = null;
    this.isReady = false;
    this.#tiers.engineDied();
    this.#past = countsOf(withPast(this.#stats, this.#past));
    this.#stats = idleStats;
    this.failure = this.#said ?? { code: 'engine_failed', message: `The engine ${reason}.` };
    this.merges.engineDied();
    const counts = this.#owner.onDied();
    if (this.#isStopping) this.#onGone?.();
    else this.#restartLater(counts);
  }

  #restartLater(counts: ReturnType<EngineOwner['onDied']>): void {
    const { limits, log, timers } = this.#options;
    const readyMs = this.#readyAt === null ? null : this.#now() - this.#readyAt;
    const permanent = this.#said !== null && permanentCodes.has(this.#said.code);
    const { history, delayMs, open } = nextRestart(this.#history, readyMs, permanent, limits);
    this.#history = history;
    this.isGivenUp = open;
    log.error({ ...this.failure, engine: this.#name, ...counts, restartInMs: delayMs }, 'the engine died');
    this.#cancelRestart = timers.after(delayMs, () => {
      this.restarts++;
      this.start();
    });
    if (open) this.#owner.onGivenUp();
  }

  /**
   * Checks for silence twice in each silent period instead of once a step, so that a step costs no timer. After half of
   * the period it pings the engine: an engine whose sequences all wait for adapters sends nothing by itself, but does
   * not hang.
   */
  #watch(): void {
    if (this.#cancelWatch !== null) return;
    const { silentMsMax } = this.#options.limits;
    this.#lastEventAt = this.#now();
    const look = () => {
      this.#cancelWatch = null;
      if (this.load.size === 0) return;
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

  get isAlive(): boolean {
    return this.#process !== null;
  }

  /** Starts no process any more; the current one goes on with its sequences. */
  drain(): void {
    this.#isStopping = true;
    this.#cancelRestart();
  }

  /** Stops the process. Call `drain` first. */
  stop(): Promise<void> {
    const process = this.#process;
    if (process === null) return Promise.resolve();
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

  #now(): number {
    return this.#options.clock.monotonic();
  }
}
