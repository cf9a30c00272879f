// One tenant's wish for one merge, and the view of it for callers.

import { combineAdapters, mergeKey } from '../../core/adapter.ts';
import { LorikeetError } from '../../core/errors.ts';
import type { MergePhase } from './engine-merges.ts';
import type { HeldFiles } from './hold-files.ts';
import type { Merge, MergedAdapter, MergeFailure } from './merge.ts';
import type { StoredMerge } from './merge-row.ts';
import type { MergeOrder } from './merges.ts';

export type Wish = {
  merge: StoredMerge;
  /** null until the files are leased. */
  files: HeldFiles | null;
  /** Settles when the wish is stored and the engine was asked. */
  opened: Promise<unknown>;
  /** Whether the store has it, where all servers find it. Automatic merges of shared servers are not stored. */
  isStored: boolean;
  /** Whether it was unmerged. Its sequences may still run. */
  isLeaving: boolean;
};

export const newWish = (merge: StoredMerge): Wish => ({
  merge,
  files: null,
  opened: Promise.resolve(),
  isStored: false,
  isLeaving: false,
});

/** @param phase the engine's phase of the same weights; null: none */
export function viewOf({ merge, isLeaving }: Wish, phase: MergePhase | null): Merge {
  if (isLeaving) return { ...merge, state: 'draining', progress: 1, since: null };
  if (merge.failure !== null) return { ...merge, state: 'failed', progress: 0, since: null };
  if (phase?.state === 'merged') {
    return { ...merge, figures: phase.figures, state: 'merged', progress: 1, since: phase.since };
  }
  return { ...merge, state: 'merging', progress: phase?.state === 'merging' ? phase.progress : 0, since: null };
}

/** Throws `merge_not_found` where the merge was unmerged during its opening. */
export function assertStays({ isLeaving }: Wish): void {
  if (isLeaving) throw new LorikeetError('merge_not_found', { message: 'The merge was taken back before it began.' });
}

/**
 * The engine's key: weights and bits. Tenants with the same wish share a merge. A wish for other bits has a merge of
 * its own, so that no tenant's answers change with another tenant's wish.
 */
export const engineKeyOf = ({ key, bitsAsked }: Pick<StoredMerge, 'key' | 'bitsAsked'>): string =>
  bitsAsked === null ? key : `${key} in ${bitsAsked} bits`;

export const idOf = ({ tenant, key }: Pick<StoredMerge, 'tenant' | 'key'>) => JSON.stringify([tenant, key]);

export const namesOf = ({ adapters }: Pick<StoredMerge, 'adapters'>) =>
  adapters.map(({ name, version }) => `${name}@${version}`);

/** The merge's adapters, one entry for each content, combined as in a request. */
export function adaptersOf({ adapters }: MergeOrder): MergedAdapter[] {
  const applied = adapters.map(({ adapter, scale }) => ({ files: { digest: adapter.digest }, adapter, scale }));
  return combineAdapters(applied).map(({ adapter: { name, version, digest }, scale }) => {
    return { name, version, digest, scale };
  });
}

export const keyOf = (adapters: readonly MergedAdapter[]) =>
  mergeKey(adapters.map(({ digest, scale }) => ({ files: { digest }, scale })));

export function failureOf(cause: unknown): MergeFailure {
  if (cause instanceof LorikeetError) return { code: cause.code, message: cause.message };
  return { code: 'internal_error', message: 'The merge could not be restored.' };
}
