// The limit of jobs, or batches, that are not over.

import { type ErrorCode, LorikeetError } from '../core/errors.ts';

export type LiveLimit = {
  /** What is counted, in the plural. */
  readonly what: string;
  readonly perTenant: number;
  /** Limit over all tenants. */
  readonly inAll: number;
  readonly code: ErrorCode;
};

/** @param live rows of all tenants that are not over. Throws `code` where the tenant may not have one more. */
export function assertMayAdd(
  live: readonly { readonly tenant: string }[],
  tenant: string,
  { what, perTenant, inAll, code }: LiveLimit,
): void {
  const own = live.filter((row) => row.tenant === tenant).length;
  if (own < perTenant && live.length < inAll) return;
  const have = own < perTenant ? `All tenants together have ${inAll}` : `You have ${perTenant}`;
  const message = `${have} ${what} that are not over. Cancel one, or wait.`;
  throw new LorikeetError(code, { message, retryAfterSeconds: 60 });
}
