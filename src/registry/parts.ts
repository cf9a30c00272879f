// What the registry's files share: the stores and their caches in memory.

import type { Serially } from '../core/serially.ts';
import type { SharedPlaces } from '../core/shared-places.ts';
import type { BlobFolder } from '../storage/blob-folder.ts';
import type { Quarantine } from '../storage/quarantine.ts';
import type { Changes } from '../storage/replicas/changes.ts';
import type { UploadFolder } from '../storage/upload-folder.ts';
import type { Contents } from './contents.ts';
import type { Holds } from './holds.ts';
import type { Names } from './names.ts';
import type { RegistryOptions } from './options.ts';

export type Parts = {
  readonly options: RegistryOptions;
  readonly names: Names;
  readonly holds: Holds;
  readonly blobs: BlobFolder;
  readonly uploads: UploadFolder;
  readonly quarantine: Quarantine;
  readonly contents: Contents;
  /** The feed of changes to and from other servers. */
  readonly changes: Changes;
  /** Runs changes one after another. Throws `storage_full`, and `server_draining` after the end. */
  readonly exclusive: Serially;
  /** Takes a place for an upload, and returns a function that gives it back. Throws `too_many_uploads`. */
  readonly beginUpload: SharedPlaces;
  /** Rejects with `server_draining` when the server ends. */
  readonly stopped: Promise<never>;
};
