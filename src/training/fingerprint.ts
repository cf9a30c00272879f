// A digest of all that a job's numbers depend on. A checkpoint with another fingerprint belongs to another job,
// whatever its folder. The device is left out: devices differ only in the last bits, and a job should not begin anew
// for them. So is the precision of products: values and moments are float32 in either, and an operator may change the
// setting while jobs wait.

import { createHash } from 'node:crypto';
import type { TrainingJob } from '../protocol/training-messages.ts';
import type { TokenRow } from './token-row.ts';

export function fingerprintOf(
  job: TrainingJob,
  rows: readonly TokenRow[],
  validationRows: readonly TokenRow[],
): string {
  const { model, weightBits, hyperparameters, initial } = job;
  const parts = [
    ...[model.digest, weightBits, initial?.digest ?? null, digestOf(rows), digestOf(validationRows)],
    // Sorted by name, since a store may keep them in another order; the order within a value may matter.
    ...Object.entries(hyperparameters).sort(([a], [b]) => (a < b ? -1 : 1)),
  ];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

function digestOf(rows: readonly TokenRow[]): string {
  const hash = createHash('sha256');
  for (const { tokens, counted } of rows) hash.update(Int32Array.of(tokens.length)).update(tokens).update(counted);
  return hash.digest('hex');
}
