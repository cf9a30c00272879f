// Reads JSON files beside the weights.

import { readFileSync, statSync } from 'node:fs';
import type { ModelFiles } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { parseStrictJson } from '../formats/strict-json.ts';

/** Reads the file; null where the model has none of this name. */
export function readSidecar(files: ModelFiles, name: string): Record<string, unknown> | null {
  const path = files.sidecars[name];
  return path === undefined ? null : readJsonObject(path);
}

export function readJsonObject(path: string): Record<string, unknown> {
  const invalid = (reason: string) =>
    new LorikeetError('model_file_invalid', { message: `Invalid ${path}: ${reason}.` });
  const { size } = statSync(path);
  if (size > limits.configBytes) throw invalid(`it has ${size} bytes; the limit is ${limits.configBytes}`);
  let value: unknown;
  try {
    value = parseStrictJson(readFileSync(path, 'utf8'));
  } catch (error) {
    throw invalid((error as Error).message);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid('it is not an object');
  return value as Record<string, unknown>;
}
