// The log of what this process asks of a card that is not there (scripts/rehearse-cuda.js).

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const folder = process.env.REHEARSAL_LOG;

/** Why the tests of a rehearsal are skipped outside of one. */
export const skip = folder ? false : 'run it with scripts/rehearse-cuda.js';

/** @returns a function that gives the lines since its last call */
export function createLogReader(): () => string[] {
  const path = join(folder!, String(process.pid));
  let read = 0;
  return () => {
    const all = readFileSync(path, 'utf8');
    const lines = all.slice(read).split('\n');
    read = all.length;
    return lines;
  };
}
