// Who leaves the queue. Pure: the order, and whether a sequence could start, are the caller's knowledge.

/** `wait`: something of its own is on its way; `blocked`: others hold what it needs. */
export type Admission = 'start' | 'wait' | 'blocked';

export type AdmissionRules<T> = {
  /** Whether there is a row for it; `never`: for none of those behind it either. */
  room(sequence: T): 'yes' | 'no' | 'never';
  /** Whether it can start now; what it needs is its own from then on. */
  admit(sequence: T): Admission;
  /** Takes it out of the queue and gives it the row. */
  start(sequence: T): void;
  /** Sequences that may start past one that is blocked. */
  readonly overtakenMax: number;
  /** Whether one that was overtaken so often holds up the other. */
  holdsUp(blocked: T, sequence: T): boolean;
};

/**
 * In the order given, but a sequence that cannot start holds nobody up: those behind it go ahead. One that is blocked
 * is overtaken only so often; then those behind it wait until it has started, since a popular adapter's rows would
 * otherwise hold its pages for ever.
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
