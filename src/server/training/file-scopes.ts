// Whose work a file is: rows are training's, a batch's requests and answers are generation's. A key that may do one of
// them sees nothing of the other.

import type { FilePurpose, TrainingFile } from '../../jobs/training-files.ts';
import type { Scope } from '../../tenants/scopes.ts';
import { assertScope } from '../http/plugins/auth.ts';

const scopeOf: Readonly<Record<FilePurpose, Scope>> = {
  'fine-tune': 'train',
  'fine-tune-results': 'train',
  batch: 'generate',
  batch_output: 'generate',
};

/** Any of them opens the routes of files. */
export const fileScopes: readonly Scope[] = ['train', 'generate'];

type Caller = { can(scope: Scope): boolean };

/** Throws `insufficient_permissions`. */
export const assertMay = (caller: Caller, { purpose }: Pick<TrainingFile, 'purpose'>): void =>
  assertScope(caller, scopeOf[purpose]);

/** @param asked the only purpose that is asked for; null: any */
export const shownPurposes = ({ can }: Caller, asked: string | null): FilePurpose[] =>
  (Object.keys(scopeOf) as FilePurpose[]).filter(
    (purpose) => can(scopeOf[purpose]) && (asked === null || purpose === asked),
  );
