// Errors for refused tokeniser files, and a check that is common to all of them.

import { LorikeetError } from '../core/errors.ts';

export function unsupported(what: string): LorikeetError {
  return new LorikeetError('model_unsupported', {
    message: `The model's tokeniser has ${what}, which is not supported.`,
  });
}

export function invalid(what: string): LorikeetError {
  return new LorikeetError('model_file_invalid', { message: what });
}

export function objectOf(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(`${name} is not an object.`);
  return value as Record<string, unknown>;
}
