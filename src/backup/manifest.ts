// The list of a backup's content. The backup's folder is laid out as a data dir, with this file beside. The file is
// written last, so that an interrupted backup has none and is refused.
//
//   manifest.json  lorikeet.db  identity.json  adapters/blobs/<hex>/  training/files/blobs/<hex>  training/work/<job>/

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { LorikeetError } from '../core/errors.ts';

export const manifestName = 'manifest.json';
export const databaseName = 'lorikeet.db';

export type Manifest = {
  readonly format: 1;
  /** ISO 8601. */
  readonly createdAt: string;
  /** Hex SHA-256 of the database's file. */
  readonly database: string;
  /** Digests of adapters' contents, and of training files. */
  readonly adapters: readonly string[];
  readonly files: readonly string[];
  /** Digests that the database names and whose bytes were missing or damaged at the backup. */
  readonly damaged: readonly string[];
};

/** Throws `backup_invalid`. */
export function readManifest(folder: string): Manifest {
  try {
    const manifest = JSON.parse(readFileSync(join(folder, manifestName), 'utf8')) as Manifest;
    if (manifest.format === 1) return manifest;
  } catch (cause) {
    const message = `${folder} is no whole backup: ${manifestName} is missing or damaged.`;
    throw new LorikeetError('backup_invalid', { message, cause });
  }
  throw new LorikeetError('backup_invalid', { message: `${folder} was made by a newer version of Lorikeet.` });
}
