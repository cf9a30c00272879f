// Copies the whole database as it is at one moment into a file of its own, while others go on writing.

import { chmodSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

/** `to` must not be there. Readers and writers of `path` do not wait for the copy. */
export function snapshotDatabase(path: string, to: string): void {
  const source = new DatabaseSync(path, { readOnly: true, timeout: 5000 });
  try {
    source.prepare('VACUUM INTO ?').run(to);
    chmodSync(to, 0o600);
  } finally {
    source.close();
  }
}
