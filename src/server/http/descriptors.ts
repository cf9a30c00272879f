// Number of connections for which this process has file descriptors: the system's limit less what files, the database
// and child processes need.

import { readFileSync } from 'node:fs';

/** Descriptors that are kept for everything but connections. */
const reserved = 96;

/** @param most the result where the system allows more, or does not say */
export function connectionsFor(most: number, limitsText = readLimits()): number {
  const open = Number(/^Max open files +(\d+)/m.exec(limitsText)?.[1] ?? Number.NaN);
  return Number.isFinite(open) ? Math.max(Math.min(most, open - reserved), 16) : most;
}

function readLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8');
  } catch {
    return '';
  }
}
