// Gives merges the shape of HTTP.

import { createHash } from 'node:crypto';
import type { Merge } from '../../jobs/merges/merge.ts';
import { idOf } from '../adapters/adapter-json.ts';
import { epochSeconds } from '../http/epoch-seconds.ts';
import type { Merge as MergeJson } from '../schemas/merges.ts';
import type { Services } from '../services.ts';

/** A short id for a merge's key, which is as long as its digests. Equal weights have the same id on every server. */
export const mergeId = (key: string) => `merge-${createHash('sha256').update(key).digest('hex').slice(0, 16)}`;

export function mergeJson({ traffic }: Services, merge: Merge): MergeJson {
  const { key, state, progress, adapters, bitsAsked, automatic, figures, failure } = merge;
  const quality = figures?.quality ?? null;
  return {
    id: mergeId(key),
    object: 'merge',
    state,
    progress,
    adapters: adapters.map(({ name, version, digest, scale }) => {
      return { id: idOf({ name, version }), name, version, digest, weight: scale };
    }),
    bits: state === 'merged' ? (figures?.bits ?? null) : bitsAsked,
    bytes: figures?.bytes ?? null,
    seconds: figures === null ? null : figures.ms / 1000,
    share: traffic.shareOf(key),
    quality: quality && {
      positions: quality.positions,
      mean_kl: quality.meanKl,
      max_kl: quality.maxKl,
      top1_agreement: quality.top1Agreement,
    },
    automatic,
    created_at: epochSeconds(merge.createdAt),
    created_by: merge.createdBy,
    error: failure && { code: failure.code, message: failure.message },
  };
}
