// The quota of training tokens. It is a tenant's, over the last 24 hours, and counts the tokens of all its jobs.

import type { Keeper } from '../core/quota-check.ts';
import type { JobParts } from './parts.ts';

const dayMs = 24 * 60 * 60 * 1000;
/** Period after which a running job asks the database again, for tokens of other jobs and for those that have aged. */
const refreshMs = 60_000;

export type TokenQuota = {
  /** Asks the database. Throws `insufficient_quota` where the tenant has no room for `tokens` more. */
  assertRoom(tokens: number): Promise<void>;
  /** Counts a step at once. Throws `insufficient_quota` where no token is left for another step. */
  assertStep(tokens: number): void;
};

/** @param keeper the tenant, and the key that made the job */
export function tokenQuota({ options, clock }: Pick<JobParts, 'options' | 'clock'>, keeper: Keeper): TokenQuota {
  /** Tokens that the database knew of, and those of this job's steps since it was asked. */
  let [known, own] = [0, 0];
  let askedAt = Number.NEGATIVE_INFINITY;
  const ask = async () => {
    askedAt = clock.monotonic();
    const ownThen = own;
    known = (await options.trainedSince?.(keeper.tenant, clock.now() - dayMs)) ?? 0;
    own -= ownThen;
  };
  const assert = (tokens: number) => options.assertQuota?.(keeper, 'training_tokens', { tenant: known + own + tokens });
  return {
    async assertRoom(tokens) {
      await ask();
      assert(tokens);
    },
    assertStep(tokens) {
      own += tokens;
      // While the database cannot be asked, its last answer holds.
      if (clock.monotonic() - askedAt > refreshMs) ask().catch(() => {});
      assert(1);
    },
  };
}
