// The calls to the file system that stored content is made with. They are an interface, so that a test can make each of
// them fail.

import { readSync } from 'node:fs';
import { type FileHandle, link, mkdir, open, readdir, rename, rm, stat, truncate } from 'node:fs/promises';

export type OpenFile = {
  bytes(): Promise<number>;
  /** Writes all bytes, after those written before. */
  write(bytes: Uint8Array): Promise<void>;
  /** Returns fewer bytes than asked for only at the end of the file. */
  read(offset: number, bytes: number): Promise<Uint8Array>;
  /** Does what `read` does, for parsers, which are synchronous. */
  readSync(offset: number, bytes: number): Uint8Array;
  /**
   * Makes what was written survive a power cut. After a failure the state of the disk is unknown: the file is given up.
   */
  sync(): Promise<void>;
  close(): Promise<void>;
};

export type FileState = { readonly bytes: number; readonly modifiedAt: number };

export type Files = {
  makeFolder(path: string): Promise<void>;
  /** Names in a folder; empty where the folder is missing. */
  list(path: string): Promise<string[]>;
  /** null where there is no such file or folder. */
  stat(path: string): Promise<FileState | null>;
  /** Creates a file. Throws where it is there already. */
  create(path: string): Promise<OpenFile>;
  /** Opens a file for writing after its last byte; makes it where it is missing. */
  append(path: string): Promise<OpenFile>;
  open(path: string): Promise<OpenFile>;
  truncate(path: string, bytes: number): Promise<void>;
  /** Gives the file a second name. */
  link(from: string, to: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** Removes a file, or a folder with all that is in it; does nothing where it is missing. */
  remove(path: string): Promise<void>;
  /** Makes names that were added to or removed from this folder survive a power cut. */
  syncFolder(path: string): Promise<void>;
};

/** Modes that keep other accounts of this machine out: adapters may be secrets of their owners. */
const [folderMode, fileMode] = [0o700, 0o600];

export const nodeFiles: Files = {
  async makeFolder(path) {
    await mkdir(path, { recursive: true, mode: folderMode });
  },
  list: (path) => readdir(path).catch(unlessMissing([])),
  stat: (path) => stat(path).then(({ size, mtimeMs }) => ({ bytes: size, modifiedAt: mtimeMs }), unlessMissing(null)),
  create: async (path) => openFile(await open(path, 'wx', fileMode)),
  append: async (path) => openFile(await open(path, 'a', fileMode)),
  open: async (path) => openFile(await open(path, 'r')),
  truncate: (path, bytes) => truncate(path, bytes),
  link: (from, to) => link(from, to),
  rename: (from, to) => rename(from, to),
  remove: (path) => rm(path, { recursive: true, force: true }),
  async syncFolder(path) {
    const folder = await open(path, 'r');
    await folder.sync().finally(() => folder.close());
  },
};

function openFile(handle: FileHandle): OpenFile {
  return {
    bytes: async () => (await handle.stat()).size,
    async write(bytes) {
      for (let written = 0; written < bytes.length; ) {
        written += (await handle.write(bytes, written)).bytesWritten;
      }
    },
    async read(offset, bytes) {
      const buffer = new Uint8Array(bytes);
      let filled = 0;
      for (let count = -1; filled < bytes && count !== 0; filled += count) {
        count = (await handle.read(buffer, filled, bytes - filled, offset + filled)).bytesRead;
      }
      return buffer.subarray(0, filled);
    },
    readSync(offset, bytes) {
      const buffer = new Uint8Array(bytes);
      let filled = 0;
      for (let count = -1; filled < bytes && count !== 0; filled += count) {
        count = readSync(handle.fd, buffer, filled, bytes - filled, offset + filled);
      }
      return buffer.subarray(0, filled);
    },
    sync: () => handle.sync(),
    close: () => handle.close(),
  };
}

function unlessMissing<T>(value: T): (error: NodeJS.ErrnoException) => T {
  return (error) => {
    if (error.code === 'ENOENT') return value;
    throw error;
  };
}
