// The error of a model that could not be fetched or opened, whatever the source.

import { LorikeetError } from '../core/errors.ts';

/** Throws `model_unavailable`. `reason` is a sentence without its full stop. */
export function unavailable(reason: string, cause?: unknown): never {
  throw new LorikeetError('model_unavailable', { message: `${reason}.`, ...(cause === undefined ? {} : { cause }) });
}

/** Describes an error in a few words. System errors and failed fetches have the cause at the end of a chain. */
export function describe(error: unknown): string {
  // The program's own errors are complete by themselves.
  if (error instanceof LorikeetError) return error.message.replace(/\.$/, '');
  let last = error as { message?: string; code?: unknown; cause?: unknown };
  while (last.cause !== undefined && last.cause !== null) last = last.cause as typeof last;
  const message = (last.message ?? String(error)).split('\n')[0]!.replace(/\.$/, '');
  return typeof last.code !== 'string' || message.includes(last.code) ? message : `${last.code}: ${message}`;
}
