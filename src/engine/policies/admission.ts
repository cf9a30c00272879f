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
};

/**
 * In the order given, but a sequence that cannot start holds nobody up: those behind it go ahead. One that is blocked
 * is overtaken only so often; then nobody behind it starts until it has, since a popular adapter's rows would otherwise
 * hold its pages for ever.
 */
export function admitWaiting<T extends { overtaken: number }>(order: Iterable<T>, rules: AdmissionRules<T>): void {
  const blocked: T[] = [];
  for (const sequence of order) {
    if (blocked.some(({ overtaken }) => overtaken >= rules.overtakenMax)) return;
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
