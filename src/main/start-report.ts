// What an operator sees of a start, and how a stop ends a start.

import { systemClock } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import type { ModelProgress } from '../models/progress.ts';

/** Receives the events of a start; the command line draws them. */
export type StartReport = {
  /** Reports that a phase is over, and how long it took. */
  done(phase: string, detail: string, ms: number): void;
  progress(progress: ModelProgress): void;
  line(text: string): void;
  ready(url: string, isOpen: boolean, ms: number): void;
};

export function timedPhases(report: StartReport) {
  let since = systemClock.monotonic();
  return (name: string, detail: string) => {
    const now = systemClock.monotonic();
    report.done(name, detail, now - since);
    since = now;
  };
}

export const aborted = (signal: AbortSignal) =>
  signal.aborted
    ? Promise.resolve()
    : new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));

/** Waits for `work`, and throws `server_draining` as soon as `stop` is aborted. */
export async function unlessStopped<T>(stop: AbortSignal, work: Promise<T>): Promise<T> {
  const stopped = aborted(stop).then(() => {
    throw new LorikeetError('server_draining', { message: 'Stopped before the server was ready.' });
  });
  return await Promise.race([work, stopped]);
}
