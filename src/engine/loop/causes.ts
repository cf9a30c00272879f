// Error codes and messages of sequences that end early: logits that are not finite, an expired deadline, errors of
// others.

import { errorTable, LorikeetError } from '../../core/errors.ts';
import type { SequenceEnd } from '../../protocol/messages.ts';
import type { Sequence } from './sequence.ts';

/**
 * Blames the adapter, a merge or virtual tokens where the sequence has any: rows never compute with one another's
 * weights.
 */
export function overflowOf({ adapter, merge, virtual }: Sequence): NonNullable<SequenceEnd['error']> {
  if (adapter !== null || merge !== null || virtual !== null) {
    const message = 'With this adapter the logits are not finite: its values are too large for the base model.';
    return { code: 'adapter_invalid', message };
  }
  return { code: 'logits_not_finite', message: errorTable.logits_not_finite.message };
}

export const tooLate: NonNullable<SequenceEnd['error']> = {
  code: 'deadline_exceeded',
  message: errorTable.deadline_exceeded.message,
};

/**
 * Keeps the code of a `LorikeetError`; any other error is a defect of this program, is printed and becomes
 * `internal_error`.
 */
export function causeOf(error: Error): NonNullable<SequenceEnd['error']> {
  if (error instanceof LorikeetError) {
    const { code, message, param } = error;
    return { code, message, ...(code === 'adapter_corrupt' && param !== null ? { digest: param } : {}) };
  }
  console.error(error);
  return { code: 'internal_error', message: 'The adapter could not be loaded.' };
}
