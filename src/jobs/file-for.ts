// The file that a request for a job or a batch names.

import { LorikeetError } from '../core/errors.ts';
import type { TrainingFile, TrainingFiles } from './training-files.ts';

export type FileUse = {
  /** The request's parameter that names the file; errors name it. */
  readonly param: string;
  readonly purpose: TrainingFile['purpose'];
  /** What an error says of the purpose that is needed. */
  readonly rule: string;
};

/** Throws `file_not_found`, and `invalid_parameter` for a file of another purpose. */
export async function fileFor(
  files: Pick<TrainingFiles, 'find'>,
  tenant: string,
  id: string,
  { param, purpose, rule }: FileUse,
): Promise<TrainingFile> {
  const file = await files.find(tenant, id).catch((error) => {
    if (!(error instanceof LorikeetError)) throw error;
    throw new LorikeetError(error.code, { message: error.message, param, cause: error });
  });
  if (file.purpose === purpose) return file;
  const message = `The file's purpose is ${file.purpose}; ${rule}.`;
  throw new LorikeetError('invalid_parameter', { message, param });
}
