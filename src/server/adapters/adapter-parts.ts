// Streams the parts of a multipart upload into the registry's stage, in the order in which they arrive. Holds none of
// them.

import type { Multipart } from '@fastify/multipart';
import { LorikeetError } from '../../core/errors.ts';
import type { StagedAdapter } from '../../registry/adapter-registry.ts';
import { isCompanion, isPickleName, isWeightsName, pickleAdvice } from '../../registry/companions.ts';
import { eachPart, fileOf, invalidPart, textOf, unknownPart } from '../http/form-parts.ts';
import type { UploadWatch } from '../http/upload-watch.ts';
import { configFile, weightsFile } from './adapter-files.ts';

const known: readonly string[] = ['name', configFile, weightsFile];

/**
 * Stages all parts.
 * @returns the adapter's name, which is one of them
 */
export async function stageParts(
  parts: AsyncIterable<Multipart>,
  staged: StagedAdapter,
  watch: UploadWatch,
): Promise<string> {
  let name: string | null = null;
  const seen = new Set<string>();
  await eachPart(parts, watch, async (part) => {
    const meaning = meaningOf(part);
    if (meaning === null) {
      await takeCompanion(part, staged, watch);
      return;
    }
    if (seen.has(meaning)) throw invalidPart(`${meaning} is there twice.`, meaning);
    seen.add(meaning);
    if (meaning === 'name') name = textOf(part);
    else if (meaning === configFile) await staged.config(part.type === 'file' ? watch.reads(part.file) : bytesOf(part));
    else await staged.weights(watch.reads(fileOf(part)));
  });
  // The stage checks whether the two files are there, and whether both are needed.
  if (name === null) {
    throw new LorikeetError('missing_parameter', { message: 'The form has no part name.', param: 'name' });
  }
  return name;
}

/**
 * What a part is, by its own name or by its file's name, since web forms name their fields freely; null: none of
 * `known`.
 */
function meaningOf(part: Multipart): string | null {
  if (known.includes(part.fieldname)) return part.fieldname;
  const file = fileNameOf(part);
  if (isWeightsName(file) || isWeightsName(part.fieldname)) return weightsFile;
  return file === configFile || file === weightsFile ? file : null;
}

const fileNameOf = (part: Multipart): string =>
  part.type === 'file' ? (part.filename?.split(/[/\\]/).at(-1) ?? '') : '';

/**
 * Notes another file of an adapter's folder, and reads it where it may have a chat template. Throws for any other file.
 */
async function takeCompanion(part: Multipart, staged: StagedAdapter, watch: UploadWatch): Promise<void> {
  const name = [part.fieldname, fileNameOf(part)].find((each) => isCompanion(each) || isPickleName(each));
  if (name === undefined) throw unknownPart(part, known);
  if (isPickleName(name)) {
    throw new LorikeetError('adapter_invalid', { message: `Invalid adapter: ${name} ${pickleAdvice}.`, param: name });
  }
  if (part.type === 'file') await staged.companion(name, watch.reads(part.file));
  else await staged.companion(name, bytesOf(part));
}

function bytesOf(part: Exclude<Multipart, { type: 'file' }>): Uint8Array {
  if (part.valueTruncated) throw new LorikeetError('body_too_large', { param: configFile });
  // The parser of forms has parsed a part that is labelled as JSON.
  return Buffer.from(typeof part.value === 'string' ? part.value : jsonText(part.value));
}

/** Writes JSON as text. The parser of forms takes JSON of any depth, and JSON.stringify does not. */
function jsonText(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (cause) {
    throw new LorikeetError('adapter_invalid', {
      message: `${configFile} is nested too deeply.`,
      param: configFile,
      cause,
    });
  }
}
