// Content that no row names: it may be a crash's rubbish, or all that is left of a lost database. It is moved aside,
// given back where a row asks for it again, and removed after days.
//
//   quarantine/<milliseconds since the epoch>-<name>

import { join } from 'node:path';
import type { Files } from './files.ts';

export type Quarantine = ReturnType<typeof quarantine>;

/** @param root a folder on the file system of the content */
export function quarantine(root: string, files: Files, now: () => number) {
  const folder = join(root, 'quarantine');
  const kept = async () =>
    (await files.list(folder)).flatMap((entry) => {
      const [, at, name] = /^(\d{1,15})-(.+)$/.exec(entry) ?? [];
      return at === undefined || name === undefined ? [] : [{ entry, at: Number(at), name }];
    });
  return {
    async take(path: string, name: string): Promise<void> {
      await files.makeFolder(folder);
      await files.rename(path, join(folder, `${now()}-${name}`));
      await files.syncFolder(folder);
    },
    /** Moves the youngest content of this name to `path`. @returns whether there was one */
    async giveBack(name: string, path: string): Promise<boolean> {
      const found = (await kept()).filter((one) => one.name === name).sort((a, b) => b.at - a.at)[0];
      if (found === undefined) return false;
      await files.rename(join(folder, found.entry), path);
      await files.syncFolder(join(path, '..'));
      return true;
    },
    /** Removes contents that were moved here before this time, in milliseconds since the epoch. */
    async expire(before: number): Promise<void> {
      for (const { entry, at } of await kept()) if (at < before) await files.remove(join(folder, entry));
    },
  };
}
