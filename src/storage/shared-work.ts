// Folders of unfinished jobs in a store that many servers share, so that another server resumes where one stopped.
//
//   work/<job>/<folder>/<epoch>/<file>      of several epochs of a folder the highest counts

import { join } from 'node:path';
import type { Files } from './files.ts';
import type { ObjectStore } from './object-store.ts';
import { fileSha256, receiveAll } from './receive.ts';

export type SharedWork = ReturnType<typeof sharedWork>;

const pageSize = 500;

type Part = { readonly key: string; readonly folder: string; readonly epoch: number; readonly name: string };

export function sharedWork(store: ObjectStore, files: Files) {
  const parts = async (job: string): Promise<Part[]> => {
    const start = `work/${job}/`;
    const found: Part[] = [];
    for (let last: string | null = null; ; ) {
      const keys: string[] = await store.list(start, last, pageSize);
      for (const key of keys) {
        const [, folder, epoch, name] = /^(.+)\/(\d+)\/([^/]+)$/.exec(key.slice(start.length)) ?? [];
        if (folder !== undefined) found.push({ key, folder, epoch: Number(epoch), name: name! });
      }
      last = keys.at(-1) ?? null;
      if (keys.length < pageSize) return found;
    }
  };
  return {
    /**
     * Puts the files of some folders below `root`, unless this epoch has put them. Removes folders from the store that
     * `isOld` names. A folder that is removed meanwhile is left out.
     */
    async put(
      job: { readonly id: string; readonly epoch: number },
      root: string,
      folders: readonly string[],
      isOld: (folder: string) => boolean = () => false,
    ): Promise<void> {
      const there = await parts(job.id);
      const has = new Set(there.filter(({ epoch }) => epoch === job.epoch).map(({ folder }) => folder));
      for (const folder of folders) {
        if (has.has(folder)) continue;
        const put: string[] = [];
        try {
          for (const name of await files.list(join(root, folder))) {
            const path = join(root, folder, name);
            const key = `work/${job.id}/${folder}/${job.epoch}/${name}`;
            const state = await files.stat(path);
            if (state === null) continue;
            const sha256 = await fileSha256(files, path);
            put.push(key);
            await store.put(key, { path, bytes: state.bytes, sha256 });
          }
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
          // The trainer has removed the folder meanwhile: a part of it is worth nothing.
          for (const key of put) await store.remove(key);
        }
      }
      for (const { key, folder } of there) if (isOld(folder)) await store.remove(key);
    },
    /** Brings the job's folders below `root`. @param start what the folders' names begin with */
    async fetch(job: string, root: string, start: string): Promise<void> {
      const wanted = (await parts(job)).filter(({ folder }) => folder.startsWith(start));
      const newest = new Map<string, number>();
      for (const { folder, epoch } of wanted) newest.set(folder, Math.max(epoch, newest.get(folder) ?? 0));
      for (const { key, folder, epoch, name } of wanted) {
        if (newest.get(folder) !== epoch) continue;
        const source = await store.get(key);
        if (source === null) continue;
        await files.makeFolder(join(root, folder));
        await receiveAll(source, files, join(root, folder, name));
      }
    },
    async remove(job: string): Promise<void> {
      for (const { key } of await parts(job)) await store.remove(key);
    },
  };
}
