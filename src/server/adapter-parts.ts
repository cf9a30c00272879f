// The parts of a multipart upload to the registry's stage, each as it arrives, in any order. Holds none of them.

import type { Readable } from 'node:stream';
import type { Multipart } from '@fastify/multipart';
import { LorikeetError } from '../core/errors.ts';
import type { StagedAdapter } from '../registry/adapter-registry.ts';
import { configFile, weightsFile } from './adapter-files.ts';
import type { UploadWatch } from './upload-watch.ts';

const known: readonly string[] = ['name', configFile, weightsFile];

/** @returns the name that the form gives the adapter. */
export async function stageParts(
  parts: AsyncIterable<Multipart>,
  staged: StagedAdapter,
  watch: UploadWatch,
): Promise<string> {
  let name: string | null = null;
  const seen = new Set<string>();
  for await (const part of watched(parts, watch)) {
    const meaning = meaningOf(part);
    try {
      if (meaning === null) throw unknownPart(part);
      if (seen.has(meaning)) throw invalid(`${meaning} is there twice.`, meaning);
      seen.add(meaning);
      if (meaning === 'name') name = textOf(part);
      else if (meaning === configFile)
        await staged.config(part.type === 'file' ? watch.reads(part.file) : bytesOf(part));
      else await staged.weights(watch.reads(fileOf(part)));
    } catch (error) {
      if (part.type === 'file') part.file.destroy();
      throw part.type === 'file' && error === part.file.errored ? broken(error) : error;
    }
  }
  const missing = known.find((part) => !seen.has(part));
  if (missing !== undefined) {
    throw new LorikeetError('missing_parameter', { message: `The form has no part ${missing}.`, param: missing });
  }
  return name!;
}

/** By its own name, or by the name of its file, since forms of the web name their fields as they like. */
function meaningOf(part: Multipart): string | null {
  if (known.includes(part.fieldname)) return part.fieldname;
  const file = part.type === 'file' ? (part.filename?.split(/[/\\]/).at(-1) ?? '') : '';
  return file === configFile || file === weightsFile ? file : null;
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

function textOf(part: Multipart): string {
  if (part.type === 'field' && typeof part.value === 'string' && !part.valueTruncated) return part.value;
  throw invalid(`${part.fieldname} must be a text of the form.`, part.fieldname);
}

function bytesOf(part: Exclude<Multipart, { type: 'file' }>): Uint8Array {
  if (part.valueTruncated) throw new LorikeetError('body_too_large', { param: configFile });
  // A part that is labelled as JSON comes parsed.
  return Buffer.from(typeof part.value === 'string' ? part.value : JSON.stringify(part.value));
}

function fileOf(part: Multipart): Readable {
  if (part.type === 'file') return part.file;
  throw invalid(`${part.fieldname} must be sent as a file.`, part.fieldname);
}

function unknownPart({ fieldname }: Multipart): LorikeetError {
  const message = `${fieldname} is not a known part; there are ${known.join(', ')}.`;
  return new LorikeetError('unknown_parameter', { message, param: fieldname });
}

const invalid = (message: string, param: string) => new LorikeetError('invalid_parameter', { message, param });

/** A complaint of the form's parser, which has no code, and a broken connection are the sender's. */
function broken(error: unknown): unknown {
  const { code } = error as { code?: unknown };
  if (error instanceof LorikeetError || (code !== undefined && code !== 'ECONNRESET')) return error;
  return new LorikeetError('malformed_request', { message: 'The form is broken, or broke off.', cause: error });
}
