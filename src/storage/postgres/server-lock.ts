// The promise that one server at a time works on a PostgreSQL, since each believes the names that it has in memory. The
// lock is the database's on one connection: it ends with the process, the machine or the way to it, and another server
// that is started then goes on.

import type { Client } from 'pg';
import type { Timers } from '../../core/clock.ts';
import { LorikeetError } from '../../core/errors.ts';
import { locationName } from '../location.ts';

export type ServerLock = {
  release(): Promise<void>;
};

const retryMs = 1000;
const connectMsMax = 5000;
/** How soon a connection whose other end is gone without a word is given up, by both sides. */
const keepAliveMs = 5000;

/**
 * Throws `invalid_config` where another server has it. `onLost`: the connection broke, and when it could be made again
 * another server had taken the lock. Until then the same server goes on, as it does while the database is away.
 */
export async function lockServer(url: string, timers: Timers, onLost: () => void): Promise<ServerLock> {
  const { default: pg } = await import('pg');
  let held: Client | null = null;
  let isOver = false;
  let cancel = () => {};

  /** @returns false where another server has it */
  const take = async (): Promise<boolean> => {
    const client = new pg.Client({
      connectionString: url,
      application_name: 'lorikeet server',
      connectionTimeoutMillis: connectMsMax,
      keepAlive: true,
      keepAliveInitialDelayMillis: keepAliveMs,
    });
    client.on('error', () => {});
    try {
      await client.connect();
      const lock = `select pg_try_advisory_lock(hashtextextended('lorikeet server', 0)) as is_mine`;
      const { rows } = await client.query<{ is_mine: boolean }>(lock);
      if (rows[0]?.is_mine !== true) {
        await client.end();
        return false;
      }
    } catch (error) {
      await client.end().catch(() => {});
      throw error;
    }
    held = client;
    client.once('end', () => {
      held = null;
      if (!isOver) again();
    });
    return true;
  };
  const again = () => {
    cancel = timers.after(retryMs, () => {
      take().then(
        (isMine) => {
          if (!isMine) onLost();
          else if (isOver) void held?.end();
        },
        () => {
          if (!isOver) again();
        },
      );
    });
  };

  if (!(await take())) {
    const message = `Another Lorikeet server uses the database ${locationName(url)}. Stop it first.`;
    throw new LorikeetError('invalid_config', { message, param: 'LORIKEET_DATABASE_URL' });
  }
  return {
    async release() {
      isOver = true;
      cancel();
      await held?.end();
    },
  };
}
