// How readers must refuse: with a code and a reason, never with a crash.

import assert from 'node:assert/strict';
import { type ErrorCode, LorikeetError } from '../../src/core/errors.ts';

export function assertRefuses(work: () => unknown, reason: RegExp, code: ErrorCode = 'model_file_invalid'): void {
  assert.throws(work, (error) => {
    assert.ok(error instanceof LorikeetError, `not a refusal: ${(error as Error).stack}`);
    assert.equal(error.code, code);
    assert.match(error.message, reason);
    return true;
  });
}

/** True where `work` accepts, false where it refuses. Any other error fails the test. */
export function accepts(work: () => unknown): boolean {
  try {
    work();
    return true;
  } catch (error) {
    if (error instanceof LorikeetError) return false;
    throw error;
  }
}
