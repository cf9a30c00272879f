// The queries on the audit log. Rows are added and read; nothing here changes or removes one.

import type { Insertable } from 'kysely';
import type { Database } from './database.ts';
import type { AuditRow, Tables } from './tables.ts';

export type AuditTable = ReturnType<typeof auditTable>;

/** Filters of the audit log; null: no filter. Entries come newest first. Times are milliseconds since the epoch. */
export type AuditQuery = {
  readonly tenant: string | null;
  readonly actor: string | null;
  readonly action: string | null;
  readonly since: number | null;
  readonly until: number | null;
  readonly before: number | null;
  readonly limit: number;
};

export function auditTable(db: Database) {
  return {
    async insert(row: Insertable<Tables['audit']>): Promise<void> {
      await db.insertInto('audit').values(row).execute();
    },
    find({ tenant, actor, action, since, until, before, limit }: AuditQuery): Promise<AuditRow[]> {
      let query = db.selectFrom('audit').selectAll();
      if (tenant !== null) query = query.where('tenant', '=', tenant);
      if (actor !== null) query = query.where('actor', '=', actor);
      if (action !== null) query = query.where('action', '=', action);
      if (since !== null) query = query.where('at', '>=', since);
      if (until !== null) query = query.where('at', '<', until);
      if (before !== null) query = query.where('seq', '<', before);
      return query.orderBy('seq', 'desc').limit(limit).execute();
    },
  };
}
