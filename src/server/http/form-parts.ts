// Reads the parts of a multipart form as they arrive, under an upload's watch, and gives errors of the form their
// codes. Knows forms, and no route.

import type { Readable } from 'node:stream';
import type { Multipart } from '@fastify/multipart';
import { LorikeetError } from '../../core/errors.ts';
import type { UploadWatch } from './upload-watch.ts';

/** Gives each part to `take`; stops reading a part whose taking fails. */
export async function eachPart(
  parts: AsyncIterable<Multipart>,
  watch: UploadWatch,
  take: (part: Multipart) => Promise<void>,
): Promise<void> {
  for await (const part of watched(parts, watch)) {
    try {
      await take(part);
    } catch (error) {
      if (part.type === 'file') part.file.destroy();
      throw part.type === 'file' && error === part.file.errored ? broken(error) : error;
    }
  }
}

async function* watched(parts: AsyncIterable<Multipart>, { tooSlow }: UploadWatch): AsyncGenerator<Multipart> {
  const iterator = parts[Symbol.asyncIterator]();
  for (;;) {
    const next = await Promise.race([iterator.next(), tooSlow]).catch((error) => {
      throw broken(error);
    });
    if (next.done) return;
    yield next.value;
  }
}

export function textOf(part: Multipart): string {
  if (part.type === 'field' && typeof part.value === 'string' && !part.valueTruncated) return part.value;
  throw invalidPart(`${part.fieldname} must be a text of the form.`, part.fieldname);
}

export function fileOf(part: Multipart): Readable {
  if (part.type === 'file') return part.file;
  throw invalidPart(`${part.fieldname} must be sent as a file.`, part.fieldname);
}

export function unknownPart({ fieldname }: Multipart, known: readonly string[]): LorikeetError {
  const message = `${fieldname} is not a known part; there are ${known.join(', ')}.`;
  return new LorikeetError('unknown_parameter', { message, param: fieldname });
}

export const invalidPart = (message: string, param: string) =>
  new LorikeetError('invalid_parameter', { message, param });

/** Errors of the form's parser, which have no code, and broken connections become `malformed_request`. */
function broken(error: unknown): unknown {
  const { code } = error as { code?: unknown };
  if (error instanceof LorikeetError || (code !== undefined && code !== 'ECONNRESET')) return error;
  return new LorikeetError('malformed_request', { message: 'The form is broken, or broke off.', cause: error });
}
