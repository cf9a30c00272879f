// The folder that a server keeps its state in, and the promise that only one server uses it at a time.

import { accessSync, chmodSync, constants, existsSync, mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { LorikeetError } from '../core/errors.ts';

/** Makes the folder, readable by its owner only because it holds hashes of keys. Throws `invalid_config`. */
export function makeDataDir(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    accessSync(path, constants.W_OK);
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? 'unknown';
    throw new LorikeetError('invalid_config', {
      message: `The data dir ${path} cannot be written to (${reason}). Set LORIKEET_DATA_DIR to a folder of your own.`,
      param: 'LORIKEET_DATA_DIR',
      cause: error,
    });
  }
}

/**
 * Locks the folder for this process. Throws `invalid_config` where another server has it.
 * @returns a function that unlocks it
 */
export function lockDataDir(path: string): () => void {
  const message = `Another Lorikeet server uses the data dir ${path}. Stop it, or set LORIKEET_DATA_DIR.`;
  return lock(join(path, 'server.lock'), message, 'LORIKEET_DATA_DIR');
}

/** Locks the database for this process, whatever data dir uses it. Throws `invalid_config`. */
export function lockDatabase(path: string): () => void {
  const file = existsSync(path) ? realpathSync(path) : path;
  const message = `Another Lorikeet server uses the database ${path}. Stop it, or set LORIKEET_DATABASE_URL.`;
  return lock(`${file}.lock`, message, 'LORIKEET_DATABASE_URL');
}

/**
 * Locks through the operating system's lock on an open file. It ends with the process, whereas a file with a process id
 * outlives a crash.
 */
function lock(file: string, message: string, param: string): () => void {
  const held = new DatabaseSync(file, { timeout: 0 });
  try {
    held.exec('BEGIN EXCLUSIVE');
    chmodSync(file, 0o600);
  } catch (error) {
    held.close();
    throw new LorikeetError('invalid_config', { message, param, cause: error });
  }
  return () => held.close();
}
