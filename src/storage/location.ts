// Where the database is: a SQLite file, or a PostgreSQL by its URL. Only this file tells them apart.

import { isAbsolute, join } from 'node:path';
import { LorikeetError } from '../core/errors.ts';

/** A path, `:memory:`, or `postgres://...`. */
export type DatabaseLocation = string;

export const isPostgresUrl = (location: DatabaseLocation): boolean => /^postgres(ql)?:\/\//.test(location);

/**
 * The SQLite file of the data dir, unless `sqlite:<path>` or `postgres://...` names another. Throws `invalid_config`.
 */
export function databaseLocation(dataDir: string, url: string | null): DatabaseLocation {
  if (url === null) return join(dataDir, 'lorikeet.db');
  if (isPostgresUrl(url)) return url;
  const path = /^sqlite:(?:\/\/)?(.+)$/.exec(url)?.[1];
  if (path === undefined) {
    throw new LorikeetError('invalid_config', {
      message: 'LORIKEET_DATABASE_URL must be sqlite:<path> or postgres://<user>@<host>/<database>.',
      param: 'LORIKEET_DATABASE_URL',
    });
  }
  return isAbsolute(path) ? path : join(dataDir, path);
}

/** The location for messages: a URL without its password and options. */
export function locationName(location: DatabaseLocation): string {
  if (!isPostgresUrl(location)) return location;
  if (!URL.canParse(location)) return 'postgres://...';
  const { host, pathname } = new URL(location);
  return `postgres://${host}${pathname}`;
}
