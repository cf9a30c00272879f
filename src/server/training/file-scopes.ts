// Scopes of files: rows belong to training, and the requests and answers of batches to generation. A key with one of
// the two scopes sees no file of the other.

import type { FilePurpose, TrainingFile } from '../../jobs/training-files.ts';
import type { Scope } from '../../tenants/scopes.ts';
import { assertScope } from '../http/plugins/auth.ts';

const scopeOf: Readonly<Record<FilePurpose, Scope>> = {
  'fine-tune': 'train',
  'fine-tune-results': 'train',
  batch: 'generate',
  batch_output: 'generate',
};

/** Scopes of the routes of files, of which a key needs one. */
export const fileScopes: readonly Scope[] = ['train', 'generate'];

type Caller = { can(scope: Scope): boolean };

/** Throws `insufficient_permissions` where the caller may not use files of this purpose. */
export const assertMay = (caller: Caller, { purpose }: Pick<TrainingFile, 'purpose'>): void =>
  assertScope(caller, scopeOf[purpose]);

/**
 * Purposes that the caller may see.
 * @param asked the only purpose to give; null gives all
 */
export const shownPurposes = ({ can }: Caller, asked: string | null): FilePurpose[] =>
  (Object.keys(scopeOf) as FilePurpose[]).filter(
    (purpose) => can(scopeOf[purpose]) && (asked === null || purpose === asked),
  );
