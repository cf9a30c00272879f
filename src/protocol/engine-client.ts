// The engine as the server sees it: a single one, however many processes compute. There are two implementations:
// supervised child processes, and a fake for tests.

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

/** State of one engine process. */
export type EngineReport = {
  /**
   * Name of its device as configured; where the configuration has that device several times, the position is appended.
   */
  readonly name: string;
  readonly state: 'starting' | 'ready' | 'restarting';
  readonly restarts: number;
  /** Why the process is not ready; null where it is. */
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
  /** null until a process was ready for the first time. */
  readonly info: EngineInfo | null;
  readonly stats: EngineStats;
  /** Where an adapter's weights are now, by digest. */
  tierOf(digest: string): AdapterTier;
  /** Restarts of all processes after they died. */
  readonly restarts: number;
  /**
   * Queues a sequence. Throws `server_overloaded`, `server_draining` or `engine_unavailable` at once where the sequence
   * cannot be taken; later failures arrive as an end with reason `error`.
   * @returns a function that aborts it: the slot is free within one step, and `onEnd` comes with reason `abort`.
   */
  submit(sequence: Omit<SequenceRequest, 'id'>, listener: SequenceListener): () => void;
  /**
   * Throws what `submit` would throw for a sequence of this share, as far as that is known before a prompt is read. By
   * default the share is `commonShare`, and the caller waits without limit.
   */
  assertRoom(share?: Share, asked?: Pick<SequenceRequest, 'timeoutMs'>): void;
  /**
   * Asks every engine for a merge, and every engine that is started later, until `unmerge`. Progress arrives at
   * `onMerge`. Where an engine dies and its merge is lost, `onMerge` gets `merging` again. A key that was already asked
   * for is a no-op.
   */
  merge(request: MergeRequest): void;
  /** Takes a merge back. An unknown key is a no-op, and is answered with `unmerged` all the same. */
  unmerge(key: string): void;
  /**
   * Sets the share of the time, 0 to 1, that every engine leaves between its steps to a training process on the same
   * cores.
   */
  leaveRoom(share: number): void;
  onMerge(listener: (event: MergeEvent) => void): void;
  /** Called after every step, for metrics. */
  onStep(listener: StepListener): void;
  /** Takes no new sequence, waits for running ones (at most `graceMs`), then stops the processes. */
  close(graceMs: number): Promise<void>;
};
