// The engine as the server sees it: one, however many processes compute. Two implementations: supervised child
// processes, and a fake for tests.

import type { Share } from '../core/share.ts';
import type { AdapterTier } from './adapter-tiers.ts';
import type {
  AdapterLoad,
  EngineInfo,
  EngineStats,
  MergeEvent,
  MergeRequest,
  SequenceEnd,
  SequenceRequest,
  TokenEvent,
} from './messages.ts';

export type EngineState = 'starting' | 'ready' | 'restarting' | 'draining' | 'stopped';

/** Callbacks of one sequence. `onEnd` comes exactly once, last, on every kind of end; tokens come in order. */
export type SequenceListener = {
  onStart?(): void;
  onToken(token: TokenEvent): void;
  onEnd(end: SequenceEnd): void;
};

/** @param loads adapters that were made ready in this step */
export type StepListener = (stats: EngineStats, loads: readonly AdapterLoad[]) => void;

/** One of the processes that compute. */
export type EngineReport = {
  /** Its device, as it is written in the configuration; where that is there several times, with its place behind. */
  readonly name: string;
  readonly state: 'starting' | 'ready' | 'restarting';
  readonly restarts: number;
  /** Why it is not ready; null where it is. */
  readonly problem: string | null;
  /** null while no process lives. */
  readonly pid: number | null;
  readonly stats: EngineStats;
};

export type EngineClient = {
  /** `ready` while at least one process takes sequences. */
  readonly state: EngineState;
  /** Each process by itself, in the order of the configuration. */
  readonly engines: readonly EngineReport[];
  /** null until one was ready once. */
  readonly info: EngineInfo | null;
  readonly stats: EngineStats;
  /** Where an adapter's weights are now, by digest. */
  tierOf(digest: string): AdapterTier;
  /** Times that processes were started again after they died. */
  readonly restarts: number;
  /**
   * Queues a sequence. Throws `server_overloaded`, `server_draining` or `engine_unavailable` at once when it can't be
   * taken; later failures arrive as an end with reason `error`.
   * @returns a function that aborts it: the slot is free within one step, and `onEnd` comes with reason `abort`.
   */
  submit(sequence: Omit<SequenceRequest, 'id'>, listener: SequenceListener): () => void;
  /**
   * Throws what `submit` would throw for a sequence of this share, as far as that is known without its prompt: before
   * one is read. Left out: `commonShare`, and that somebody always waits.
   */
  assertRoom(share?: Share, asked?: Pick<SequenceRequest, 'timeoutMs'>): void;
  /**
   * Asks for a merge. It is asked for again, by itself, of every engine that is started until `unmerge`. Its progress
   * arrives at `onMerge`, and so does the loss of what is made with the engine that had it, as `merging`. A key that is
   * already there is a no-op.
   */
  merge(request: MergeRequest): void;
  /** A key that is not there is a no-op, and answers `unmerged` all the same. */
  unmerge(key: string): void;
  /**
   * Share of the time, 0 to 1, that every engine leaves between its steps to a process that computes while cores idle.
   */
  leaveRoom(share: number): void;
  onMerge(listener: (event: MergeEvent) => void): void;
  /** Called after every step, for metrics. */
  onStep(listener: StepListener): void;
  /** Takes nothing new, waits for what runs (at most `graceMs`), then stops the process. */
  close(graceMs: number): Promise<void>;
};
