// Answers to requests with an Idempotency-Key: the same request again within a day gets the same answer, and nothing is
// done twice. Each tenant has its own keys.

import type { Clock } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import type { Database } from '../storage/database.ts';
import { type KeptAnswerTable, keptAnswerTable } from '../storage/kept-answer-table.ts';
import { type Changes, unsharedChanges } from '../storage/replicas/changes.ts';

export type KeptAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
};

export type AskedOnce = { readonly tenant: string; readonly key: string; readonly request: string };

export type KeptAnswers = {
  /** The earlier answer; null where the request is new. Throws `idempotency_conflict`. */
  begin(asked: AskedOnce): Promise<KeptAnswer | null>;
  finish(asked: AskedOnce, answer: KeptAnswer): Promise<void>;
  /** Forgets a request that failed through no fault of the caller, so that a repetition is executed. */
  forget(asked: AskedOnce): Promise<void>;
};

const keptMs = 24 * 60 * 60 * 1000;

export async function openKeptAnswers(
  database: Database,
  clock: Clock,
  changes: Changes = unsharedChanges(),
): Promise<KeptAnswers> {
  const table: KeptAnswerTable = keptAnswerTable(database);
  const { id: owner } = changes;
  // Unfinished answers of this server's own id are from an earlier process.
  await table.forgetUnfinished(new Set([...(await changes.living())].filter((id) => id !== owner).concat('')));

  const owned = ({ tenant, key }: AskedOnce) => ({ tenant, idempotency_key: key });
  return {
    async begin(asked) {
      const now = clock.now();
      const row = { ...owned(asked), request: asked.request, created_at: now, owner };
      let there = await table.begin(row, now - keptMs);
      if (there !== null && there.status === null && changes.isShared) {
        await table.forgetUnfinished(await changes.living());
        there = await table.begin(row, now - keptMs);
      }
      if (there === null) return null;
      if (there.request !== asked.request) {
        const message = 'This Idempotency-Key was used with another request.';
        throw new LorikeetError('idempotency_conflict', { message });
      }
      if (there.status === null) {
        const message = 'The first request with this Idempotency-Key is still under way.';
        throw new LorikeetError('idempotency_conflict', { message });
      }
      const headers = JSON.parse(there.headers ?? '{}') as Record<string, string>;
      return { status: there.status, headers, body: there.body ?? '' };
    },
    finish: (asked, { status, headers, body }) =>
      table.finish(owned(asked), { status, headers: JSON.stringify(headers), body }),
    forget: (asked) => table.forget(owned(asked)),
  };
}
