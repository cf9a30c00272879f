// The audit log: who changed what, from where, and what it was before. Entries are never deleted; operators read them.

import type { Clock } from '../core/clock.ts';
import type { AuditQuery, AuditTable } from '../storage/audit-table.ts';
import type { AuditRow } from '../storage/tables.ts';

export type Change = {
  /** Tenant that owns what was changed. */
  readonly tenant: string;
  /**
   * A key's prefix, `admin`, `anonymous` on a server without keys, `command-line`, or `policy` for the server's own
   * decisions. A training job acts as the key that made it.
   */
  readonly actor: string;
  readonly ip: string | null;
  readonly requestId: string | null;
  /** `keys.create`, `aliases.set`, ... */
  readonly action: string;
  readonly target: string;
  /** States before and after, without secrets; null: none. */
  readonly before: unknown;
  readonly after: unknown;
};

export type AuditEntry = Omit<Change, 'before' | 'after'> & {
  readonly seq: number;
  readonly at: number;
  readonly before: unknown;
  readonly after: unknown;
};

export type AuditLog = {
  /** Adds an entry; durable when it resolves. */
  write(change: Change): Promise<void>;
  /** Entries, newest first. */
  read(query: AuditQuery): Promise<AuditEntry[]>;
};

/** Logs a change that is already made. A failed write is only logged. */
export async function recordChange(
  audit: Pick<AuditLog, 'write'> | undefined,
  change: Omit<Change, 'ip' | 'requestId'>,
  log: { error(fields: object, message: string): void },
): Promise<void> {
  await audit?.write({ ...change, ip: null, requestId: null }).catch((error) => {
    log.error({ err: error, action: change.action }, 'a change is missing in the audit log');
  });
}

/** Characters of a `before` or `after`; a job's settings fit many times. Longer text is cut and marked as such. */
const charsMax = 16_384;

export function auditLog(table: AuditTable, clock: Clock): AuditLog {
  return {
    async write({ requestId, before, after, ...change }) {
      const texts = { before: textOf(before), after: textOf(after) };
      await table.insert({ ...change, ...texts, request_id: requestId, at: clock.now() });
    },
    read: async (query) => (await table.find(query)).map(entryOf),
  };
}

function textOf(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  const text = JSON.stringify(value);
  return text.length <= charsMax ? text : JSON.stringify({ cut: text.slice(0, charsMax) });
}

function entryOf({ request_id: requestId, before, after, ...row }: AuditRow): AuditEntry {
  const parse = (text: string | null): unknown => (text === null ? null : JSON.parse(text));
  return { ...row, requestId, before: parse(before), after: parse(after) };
}
