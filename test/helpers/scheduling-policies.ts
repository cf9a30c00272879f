// Linux's scheduling policy of each thread of a process, the main one first: field 41 of its stat.

import { readdirSync, readFileSync } from 'node:fs';

/** SCHED_IDLE in sched.h. */
export const idlePolicy = 5;

export const schedulingPolicies = (pid: number | 'self'): number[] =>
  readdirSync(`/proc/${pid}/task`).map((thread) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[38]);
  });
