// Deletions wait for the requests that use an adapter. A short one is answered when it is over, a long one at once.

import type { FastifyBaseLogger } from 'fastify';

/** @returns whether all is gone. Refusals are thrown; what fails after the answer is logged. */
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
