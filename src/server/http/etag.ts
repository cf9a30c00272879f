// Revisions as entity tags, and the preconditions of a change (RFC 9110, 13): which revision the caller has seen.

import { LorikeetError } from '../../core/errors.ts';

export const etagOf = (revision: number) => `"${revision}"`;

type Conditions = { readonly 'if-match'?: string | undefined; readonly 'if-none-match'?: string | undefined };

/**
 * Reads a request's preconditions.
 * @returns the revision that must exist, 0 where none may, null without a precondition
 */
export function expectedRevision(headers: Conditions): number | null {
  const { 'if-match': match, 'if-none-match': noneMatch } = headers;
  if (match !== undefined && noneMatch !== undefined) {
    throw refuse('If-Match and If-None-Match exclude each other.', 'if-none-match');
  }
  if (noneMatch !== undefined) {
    if (noneMatch.trim() === '*') return 0;
    throw refuse('If-None-Match takes * only: change what is not there yet.', 'if-none-match');
  }
  if (match === undefined) return null;
  // Some proxies make a tag weak when they compress the answer.
  const [, revision] = /^(?:W\/)?"([1-9]\d{0,14})"$/.exec(match.trim()) ?? [];
  if (revision === undefined) throw refuse('If-Match takes one ETag of this alias, such as "3".', 'if-match');
  return Number(revision);
}

const refuse = (message: string, param: string) => new LorikeetError('invalid_parameter', { message, param });
