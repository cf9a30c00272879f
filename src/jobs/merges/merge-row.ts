// Converts between a merge and its row. The row does not have the engine's state of it.

import type { ErrorCode } from '../../core/errors.ts';
import type { WeightBits } from '../../protocol/messages.ts';
import type { MergeRow } from '../../storage/tables.ts';
import type { Merge, MergedAdapter, MergeFigures } from './merge.ts';

export type StoredMerge = Omit<Merge, 'state' | 'progress' | 'since'>;

export function toRow(merge: StoredMerge): MergeRow {
  return {
    tenant: merge.tenant,
    merge_key: merge.key,
    adapters: JSON.stringify(merge.adapters),
    bits: merge.bitsAsked,
    state: merge.failure === null ? 'wanted' : 'failed',
    error_code: merge.failure?.code ?? null,
    error_message: merge.failure?.message ?? null,
    automatic: merge.automatic ? 1 : 0,
    created_at: merge.createdAt,
    created_by: merge.createdBy,
    figures: merge.figures === null ? null : JSON.stringify(merge.figures),
  };
}

export function fromRow(row: MergeRow): StoredMerge {
  const { error_code: code, error_message: message } = row;
  return {
    tenant: row.tenant,
    key: row.merge_key,
    adapters: JSON.parse(row.adapters) as MergedAdapter[],
    bitsAsked: row.bits as WeightBits | null,
    automatic: row.automatic === 1,
    createdAt: row.created_at,
    createdBy: row.created_by,
    figures: row.figures === null ? null : (JSON.parse(row.figures) as MergeFigures),
    failure: code === null || message === null ? null : { code: code as ErrorCode, message },
  };
}
