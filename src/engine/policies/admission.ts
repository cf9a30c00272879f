// Who leaves the queue. Pure: whether a sequence could start is the caller's knowledge.

/** `wait`: something of its own is on its way; `blocked`: others hold what it needs. */
export type Admission = 'start' | 'wait' | 'blocked';

/**
 * First come, first served, but a sequence that cannot start holds nobody up: those behind it go ahead. One that is
 * blocked is overtaken only so often; then nobody behind it starts until it has, since a popular adapter's rows would
 * otherwise hold its pages for ever.
 */
export function admissible<T extends { overtaken: number }>(
  waiting: readonly T[],
  room: number,
  overtakenMax: number,
  admit: (sequence: T) => Admission,
): T[] {
  const started: T[] = [];
  const blocked: T[] = [];
  for (const sequence of waiting) {
    if (started.length === room || blocked.some(({ overtaken }) => overtaken >= overtakenMax)) break;
    const admission = admit(sequence);
    if (admission === 'blocked') blocked.push(sequence);
    if (admission !== 'start') continue;
    started.push(sequence);
    for (const passed of blocked) passed.overtaken++;
  }
  return started;
}
