// A lock on a PostgreSQL, so that servers use it together only where they can. A server with contents in its data dir
// takes it exclusively; servers that share a store take it as shared. It is the database's lock on one connection: it
// ends with the process, the machine or the network between, and another server can then start. The same connection
// receives the hints that something has changed.

import type { Client } from 'pg';
import type { Timers } from '../../core/clock.ts';
import { LorikeetError } from '../../core/errors.ts';
import { locationName } from '../location.ts';
import { channel } from '../replicas/change-table.ts';

export type ServerLock = {
  release(): Promise<void>;
};

export type LockOptions = {
  /** Whether the lock is taken together with other servers. */
  readonly isShared: boolean;
  /** Called when other servers may have changed something. */
  onHint(): void;
};

const retryMs = 1000;
const [exclusive, shared] = ['pg_try_advisory_lock', 'pg_try_advisory_lock_shared'];
const connectMsMax = 5000;
/** Milliseconds for the statement that takes the lock. It never waits for the lock: it gets it or not. */
const answerMsMax = 10_000;
/** Milliseconds of silence after which the system tests whether the other end is still there. */
const keepAliveMs = 5000;

/**
 * Takes the lock. Throws `invalid_config` where another server has it. A broken connection is made again; `onLost` is
 * called where another server had the lock by then. Until then this server goes on, as it does while the database is
 * away.
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

  /** Connects and takes the lock. @returns false where another server has it */
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
