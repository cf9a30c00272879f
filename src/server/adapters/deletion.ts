// A deletion waits for the requests that use the adapter: the answer waits for a short deletion, and not for a long
// one.

import type { FastifyBaseLogger } from 'fastify';

/**
 * Waits for `deletion`, at most `ms`. An error after that time is logged.
 * @returns whether the deletion is over
 */
export async function settledWithin(ms: number, deletion: Promise<void>, log: FastifyBaseLogger): Promise<boolean> {
  const waited = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => waited.resolve(false), ms);
  try {
    const isGone = await Promise.race([deletion.then(() => true), waited.promise]);
    if (!isGone) deletion.catch((error) => log.error({ err: error }, 'a deletion failed after its answer'));
    return isGone;
  } finally {
    clearTimeout(timer);
  }
}
