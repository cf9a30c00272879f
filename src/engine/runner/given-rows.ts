// Rows of a run whose embedding is not the base's row of their token: virtual tokens, and tokens whose row an adapter
// changes. Values are as the residual stream has them.

import { modelPlan } from '../../core/layer-plan.ts';
import { embeddingReader } from '../../graph/dequantize-row.ts';
import type { LoweredModel } from '../../graph/lowered.ts';
import { addChanges, changesToken, type ScaledChange } from '../adapters/embedding-change.ts';
import type { BatchPart, ForwardBatch } from './forward-batch.ts';

export type GivenRow = {
  /** Index among the run's rows. */
  readonly at: number;
  write(values: Float32Array): void;
};

export type GivenRows = (batch: ForwardBatch) => readonly GivenRow[];

export function createGivenRows(model: LoweredModel): GivenRows {
  const scale = modelPlan(model.shape).embeddingScale;
  const read = embeddingReader(model);
  const changed = (changes: readonly ScaledChange[], times: number, token: number) => (values: Float32Array) => {
    read(token, values);
    addChanges(changes, times, token, values);
    if (scale !== 1) for (let i = 0; i < values.length; i++) values[i]! *= scale;
  };
  return ({ parts, merged }) => {
    const rows: GivenRow[] = [];
    let first = 0;
    for (const { past, to, tokens, adapter, given } of parts) {
      const changes = merged ? merged.embedding : (adapter?.adapter.embedding ?? []);
      const virtual = given?.count ?? 0;
      // Without changed tokens only virtual tokens are looked at.
      const end = changes.length > 0 ? to : Math.min(to, virtual);
      for (let position = past; position < end; position++) {
        const at = first + position - past;
        const token = tokens[position]!;
        if (position < virtual) rows.push({ at, write: (values) => values.set(virtualRow(given!, position)) });
        else if (changesToken(changes, token)) rows.push({ at, write: changed(changes, adapter?.scale ?? 1, token) });
      }
      first += to - past;
    }
    return rows;
  };
}

const virtualRow = ({ values, width }: NonNullable<BatchPart['given']>, position: number): Float32Array =>
  values.subarray(position * width, (position + 1) * width);
