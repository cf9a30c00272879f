// What the registry's files share: the stores, and what is true in memory.

import type { Serially } from '../core/serially.ts';
import type { SharedPlaces } from '../core/shared-places.ts';
import type { AdapterTable } from '../storage/adapter-table.ts';
import type { AliasTable } from '../storage/alias-table.ts';
import type { BlobFolder } from '../storage/blob-folder.ts';
import type { UploadFolder } from '../storage/upload-folder.ts';
import type { Catalogue } from './catalogue.ts';
import type { Contents } from './contents.ts';
import type { RegistryOptions } from './options.ts';

export type Parts = {
  readonly options: RegistryOptions;
  readonly adapters: AdapterTable;
  readonly aliases: AliasTable;
  readonly blobs: BlobFolder;
  readonly uploads: UploadFolder;
  readonly catalogue: Catalogue;
  readonly contents: Contents;
  /** Every change goes through here. Throws `storage_full`, and `server_draining` after the end. */
  readonly exclusive: Serially;
  /** Takes one of the places for uploads, and returns what gives it back. Throws `too_many_uploads`. */
  readonly beginUpload: SharedPlaces;
  /** Rejects with `server_draining` at the end. */
  readonly stopped: Promise<never>;
};
