// Decides who leaves the queue. Pure: the caller knows the order, and whether a sequence could start.

/** `wait`: something that the sequence alone needs is on its way; `blocked`: others hold what it needs. */
export type Admission = 'start' | 'wait' | 'blocked';

export type AdmissionRules<T> = {
  /** Whether the sequence can have a row; `never`: nor can any behind it. */
  room(sequence: T): 'yes' | 'no' | 'never';
  /** Whether the sequence can start now; `start` means that it holds what it needs from then on. */
  admit(sequence: T): Admission;
  /** Takes the sequence out of the queue and gives it the row. */
  start(sequence: T): void;
  /** How many sequences may start past one that is blocked. */
  readonly overtakenMax: number;
  /** Whether a sequence that was overtaken that often holds up another one. */
  holdsUp(blocked: T, sequence: T): boolean;
};

/**
 * Starts sequences in the order given. One that cannot start holds up none behind it, up to a bound: a blocked sequence
 * is overtaken `overtakenMax` times, and then those that it holds up wait until it has started. Otherwise the rows of a
 * popular adapter would hold its pages for ever.
 */
export function admitWaiting<T extends { overtaken: number }>(order: Iterable<T>, rules: AdmissionRules<T>): void {
  const blocked: T[] = [];
  for (const sequence of order) {
    const isHeld = blocked.some((one) => one.overtaken >= rules.overtakenMax && rules.holdsUp(one, sequence));
    if (isHeld) continue;
    const room = rules.room(sequence);
    if (room === 'never') return;
    if (room === 'no') continue;
    const admission = rules.admit(sequence);
    if (admission === 'blocked') blocked.push(sequence);
    if (admission !== 'start') continue;
    rules.start(sequence);
    for (const passed of blocked) passed.overtaken++;
  }
}
