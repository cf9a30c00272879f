// What a job's every number depends on. A checkpoint of another fingerprint is another job's, whatever its folder.

import { createHash } from 'node:crypto';
import type { TrainingJob } from '../protocol/training-messages.ts';
import type { Dataset } from './dataset.ts';

export function fingerprintOf(job: TrainingJob, dataset: Dataset): string {
  const { model, weightBits, hyperparameters, initial } = job;
  const rows = createHash('sha256');
  for (const { tokens, counted } of dataset.rows) rows.update(tokens).update(counted);
  const parts = [
    ...[model.digest, weightBits, initial?.digest ?? null, rows.digest('hex')],
    // By name, since a store may keep them in another order; the order within one of them may matter.
    ...Object.entries(hyperparameters).sort(([a], [b]) => (a < b ? -1 : 1)),
  ];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}
