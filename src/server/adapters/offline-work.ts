// Work on the weights of an adapter that a process of its own does: the adapter's files are held until the answer is
// out, and a caller who leaves ends the process.

import type { FastifyReply, FastifyRequest } from 'fastify';
import type { AdapterLease } from '../../registry/adapter-registry.ts';
import { answerNobody } from '../generation/answer.ts';
import type { Services } from '../services.ts';
import { assertAllowed } from './allowed-adapters.ts';
import { blame, type NamedAdapter } from './held-adapters.ts';

async function allowedLease(
  registry: Services['registry'],
  { tenant, allowedAdapters }: FastifyRequest,
  { reference }: Pick<NamedAdapter, 'reference'>,
): Promise<AdapterLease> {
  assertAllowed(allowedAdapters, reference);
  return await registry.lease(tenant, reference);
}

/**
 * Holds what `named` means while `work` runs and its answer is sent. `signal` is aborted when the connection closes
 * first. The registry's refusals get the caller's own parameter.
 */
export async function withLeases<T>(
  { registry }: Services,
  { request, reply }: { readonly request: FastifyRequest; readonly reply: FastifyReply },
  named: readonly Pick<NamedAdapter, 'reference' | 'param'>[],
  work: (leases: readonly AdapterLease[], signal: AbortSignal) => Promise<T>,
): Promise<T | FastifyReply> {
  const gone = new AbortController();
  const leases: AdapterLease[] = [];
  const release = () => {
    gone.abort();
    for (const lease of leases.splice(0)) lease.release();
  };
  reply.raw.once('close', release);
  try {
    for (const one of named) {
      leases.push(
        await allowedLease(registry, request, one).catch((error) => {
          throw blame(error, one);
        }),
      );
    }
    if (!reply.raw.destroyed) return await work(leases, gone.signal);
  } catch (error) {
    if (!reply.raw.destroyed) throw error;
  }
  release();
  return answerNobody(reply, null);
}
