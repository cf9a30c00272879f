// A file system of which one call fails, or all calls from one on.

import { type Files, nodeFiles, type OpenFile } from '../../src/storage/files.ts';

export type Fault = {
  /** The first call that fails, from 1. */
  readonly at: number;
  readonly code: 'EIO' | 'ENOSPC';
  /** All later calls fail as well. */
  readonly isLasting: boolean;
};

/** `calls` counts the calls; a final count below `at` means that the fault did not happen. */
export function faultyFiles(fault: Fault): { readonly files: Files; readonly calls: { count: number } } {
  const calls = { count: 0 };
  const meet = (name: string) => {
    calls.count++;
    const isMet = fault.isLasting ? calls.count >= fault.at : calls.count === fault.at;
    if (isMet) throw Object.assign(new Error(`${fault.code}: call ${calls.count}, ${name}`), { code: fault.code });
  };
  const faulty =
    <A extends unknown[], T>(name: string, call: (...args: A) => Promise<T>) =>
    async (...args: A): Promise<T> => {
      meet(name);
      return await call(...args);
    };
  const openFile = (file: OpenFile): OpenFile => ({
    bytes: faulty('bytes', file.bytes),
    // Half of a write arrives before the disk refuses the rest.
    write: async (bytes) => {
      try {
        meet('write');
      } catch (error) {
        await file.write(bytes.subarray(0, bytes.length >> 1));
        throw error;
      }
      await file.write(bytes);
    },
    read: faulty('read', file.read),
    readSync(offset, bytes) {
      meet('readSync');
      return file.readSync(offset, bytes);
    },
    sync: faulty('sync', file.sync),
    // As in the system itself, the descriptor is closed even where closing fails.
    close: async () => {
      await file.close();
      meet('close');
    },
  });
  const opens =
    (name: string, open: (path: string) => Promise<OpenFile>) =>
    async (path: string): Promise<OpenFile> => {
      meet(name);
      return openFile(await open(path));
    };
  const { create, append, open, ...others } = nodeFiles;
  const entries = Object.entries(others).map(([name, call]) => [name, faulty(name, call as () => Promise<unknown>)]);
  return {
    calls,
    files: {
      ...(Object.fromEntries(entries) as typeof others),
      create: opens('create', create),
      append: opens('append', append),
      open: opens('open', open),
    },
  };
}
