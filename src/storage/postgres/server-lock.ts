// The promise that servers work on a PostgreSQL together only where they can: one that has contents in its data dir has
// the database alone, those that share a store share the lock. The lock is the database's on one connection: it ends
// with the process, the machine or the way to it, and another server that is started then goes on. The same connection
// is told that something has changed.

import type { Client } from 'pg';
import type { Timers } from '../../core/clock.ts';
import { LorikeetError } from '../../core/errors.ts';
import { locationName } from '../location.ts';
import { channel } from '../replicas/change-table.ts';

export type ServerLock = {
  release(): Promise<void>;
};

export type LockOptions = {
  /** With other servers that share. */
  readonly isShared: boolean;
  /** Others have changed something. */
  onHint(): void;
};

const retryMs = 1000;
const [exclusive, shared] = ['pg_try_advisory_lock', 'pg_try_advisory_lock_shared'];
const connectMsMax = 5000;
/** For the lock, which is taken or is not: nobody waits for it. */
const answerMsMax = 10_000;
/** How soon a connection whose other end is gone without a word is given up, by both sides. */
const keepAliveMs = 5000;

/**
 * Throws `invalid_config` where another server has it. `onLost`: the connection broke, and when it could be made again
 * another server had taken the lock. Until then the same server goes on, as it does while the database is away.
 */
export async function lockServer(
  url: string,
  timers: Timers,
  onLost: () => void,
  { isShared, onHint }: LockOptions = { isShared: false, onHint: () => {} },
): Promise<ServerLock> {
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
      query_timeout: answerMsMax,
      keepAlive: true,
      keepAliveInitialDelayMillis: keepAliveMs,
    });
    client.on('error', () => {});
    try {
      await client.connect();
      const lock = `select ${isShared ? shared : exclusive}(hashtextextended('lorikeet server', 0)) as is_mine`;
      const { rows } = await client.query<{ is_mine: boolean }>(lock);
      if (rows[0]?.is_mine !== true) {
        await client.end();
        return false;
      }
      client.on('notification', onHint);
      await client.query(`listen ${channel}`);
    } catch (error) {
      await client.end().catch(() => {});
      throw error;
    }
    held = client;
    onHint();
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
