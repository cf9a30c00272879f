// Reads the parts of an uploaded file in any order: OpenAI's clients send the file first, users of curl often last.

import type { Multipart } from '@fastify/multipart';
import { LorikeetError } from '../../core/errors.ts';
import type { Limits } from '../../core/limits.ts';
import type { StagedTrainingFile, UploadPurpose } from '../../jobs/training-files.ts';
import { eachPart, fileOf, invalidPart, textOf, unknownPart } from '../http/form-parts.ts';
import type { UploadWatch } from '../http/upload-watch.ts';

const known: readonly string[] = ['file', 'purpose'];

type Rules = {
  readonly watch: UploadWatch;
  readonly limits: Pick<Limits, 'fileNameChars'>;
  /** Throws where the caller may not upload files for this purpose. */
  assertMay(purpose: UploadPurpose): void;
};

export async function stageRows(
  parts: AsyncIterable<Multipart>,
  staged: StagedTrainingFile,
  { watch, limits, assertMay }: Rules,
): Promise<{ filename: string; purpose: UploadPurpose }> {
  let filename: string | null = null;
  let purpose: UploadPurpose | null = null;
  await eachPart(parts, watch, async (part) => {
    if (part.fieldname.startsWith('expires_after')) throw unsupportedExpiry();
    if (part.fieldname === 'purpose') {
      purpose = assertPurpose(textOf(part));
      assertMay(purpose);
    } else if (part.fieldname !== 'file') throw unknownPart(part, known);
    else if (filename !== null) throw invalidPart('file is there twice.', 'file');
    else {
      filename = nameOf(part).slice(0, limits.fileNameChars);
      await staged.rows(watch.reads(fileOf(part)), purpose);
    }
  });
  if (purpose === null) throw missing('purpose');
  if (filename === null) throw missing('file');
  return { filename, purpose };
}

function assertPurpose(purpose: string): UploadPurpose {
  if (purpose === 'fine-tune' || purpose === 'batch') return purpose;
  throw invalidPart('purpose must be fine-tune or batch: files are here to be trained on, or answered.', 'purpose');
}

/** The file's name for display, without folders. */
function nameOf(part: Multipart): string {
  const name = part.type === 'file' ? part.filename?.split(/[/\\]/).at(-1) : undefined;
  return name || 'file.jsonl';
}

const missing = (param: string) =>
  new LorikeetError('missing_parameter', { message: `The form has no part ${param}.`, param });

const unsupportedExpiry = () =>
  new LorikeetError('unsupported_parameter', {
    message: 'Files stay until they are deleted; expires_after is not supported.',
    param: 'expires_after',
  });
