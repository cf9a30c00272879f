// What an operator sees of a start, and the stop that ends it.

import { systemClock } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import type { ModelProgress } from '../models/progress.ts';

/** What the operator sees while the server starts. Drawing it is the command line's. */
export type StartReport = {
  /** A phase is over. */
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

/** A stop while the server still starts ends the start. */
export async function unlessStopped<T>(stop: AbortSignal, work: Promise<T>): Promise<T> {
  const stopped = aborted(stop).then(() => {
    throw new LorikeetError('server_draining', { message: 'Stopped before the server was ready.' });
  });
  return await Promise.race([work, stopped]);
}
