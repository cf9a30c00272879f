// Weights that are uploaded in parts, over any number of connections. Knows files and times, and no tenant: the owner
// of an upload is an opaque key, so that the same digest of two owners is two files.
//
//   uploads/<sha256 of the owner's key>/<hex of the digest>.part, .whole once the digest was checked

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { LorikeetError } from '../core/errors.ts';
import { hexOf } from '../core/hex-of.ts';
import type { Files } from './files.ts';
import { fileSha256, receive } from './receive.ts';

export type UploadFolder = ReturnType<typeof uploadFolder>;

export type UploadState = { readonly offset: number; readonly complete: boolean };
export type UploadPart = { readonly offset: number; readonly total: number; readonly bytes: Readable };

export function uploadFolder(root: string, files: Files) {
  const uploads = join(root, 'uploads');
  const folderOf = (owner: string) => join(uploads, createHash('sha256').update(owner).digest('hex'));
  const pathOf = (owner: string, digest: string) => join(folderOf(owner), hexOf(digest));
  const find = async (owner: string, digest: string): Promise<UploadState | null> => {
    const whole = await files.stat(`${pathOf(owner, digest)}.whole`);
    if (whole !== null) return { offset: whole.bytes, complete: true };
    const part = await files.stat(`${pathOf(owner, digest)}.part`);
    return part === null ? null : { offset: part.bytes, complete: false };
  };

  /** Checks the file against its digest and gives it its final name. */
  const complete = async (path: string, digest: string): Promise<void> => {
    if ((await fileSha256(files, `${path}.part`)) !== hexOf(digest)) {
      // Nobody can tell which part of the file is wrong, so continuing it would never succeed.
      await files.remove(`${path}.part`);
      throw new LorikeetError('digest_mismatch');
    }
    await files.rename(`${path}.part`, `${path}.whole`);
    await files.syncFolder(join(path, '..'));
  };

  return {
    find,
    /** Bytes by digest of this owner's uploads, complete ones included. */
    async kept(owner: string): Promise<Map<string, number>> {
      const kept = new Map<string, number>();
      for (const name of await files.list(folderOf(owner))) {
        const state = await files.stat(join(folderOf(owner), name));
        if (state !== null) kept.set(`sha256:${name.split('.', 1)[0]}`, state.bytes);
      }
      return kept;
    },
    /** Appends a part. The caller makes sure that nobody else appends to the same file. */
    async append(owner: string, digest: string, { offset, total, bytes }: UploadPart): Promise<UploadState> {
      const state = (await find(owner, digest)) ?? { offset: 0, complete: false };
      if (offset !== state.offset) {
        const message = `The upload goes on at byte ${state.offset}, not ${offset}.`;
        throw new LorikeetError('upload_offset_mismatch', { message, param: 'offset' });
      }
      if (state.complete) return state;
      const path = pathOf(owner, digest);
      await files.makeFolder(folderOf(owner));
      await appendTo(files, `${path}.part`, { offset, total, bytes });
      const reached = (await files.stat(`${path}.part`))?.bytes ?? 0;
      if (reached === total) await complete(path, digest);
      return { offset: reached, complete: reached === total };
    },
    /** Links a complete upload to the path `to`. @returns its bytes. Throws `upload_not_found`. */
    async linkTo(owner: string, digest: string, to: string): Promise<number> {
      const state = await find(owner, digest);
      if (state === null || !state.complete) throw new LorikeetError('upload_not_found', { param: 'digest' });
      await files.link(`${pathOf(owner, digest)}.whole`, to);
      return state.offset;
    },
    async remove(owner: string, digest: string): Promise<void> {
      await files.remove(`${pathOf(owner, digest)}.whole`);
    },
    /** Removes uploads that were last written to before this time, in milliseconds since the epoch. */
    async expire(before: number): Promise<void> {
      for (const owner of await files.list(uploads)) {
        for (const name of await files.list(join(uploads, owner))) {
          const path = join(uploads, owner, name);
          const state = await files.stat(path);
          if (state !== null && state.modifiedAt < before) await files.remove(path);
        }
      }
    },
  };
}

/** Appends the bytes of one part. Bytes that arrived are kept when the sender breaks off, unless the flush fails. */
async function appendTo(files: Files, path: string, { offset, total, bytes }: UploadPart): Promise<void> {
  const file = await files.append(path);
  try {
    await receive(bytes, file, total - offset, () => {
      throw new LorikeetError('body_too_large', { message: `More than the announced ${total} bytes arrived.` });
    }).finally(() =>
      file.sync().catch(async (error) => {
        await files.remove(path);
        throw error;
      }),
    );
  } finally {
    await file.close();
  }
}
