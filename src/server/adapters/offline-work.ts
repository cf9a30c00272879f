// Runs offline work on an adapter's weights, which another process does. The adapter's files are held until the answer
// is sent, and the process ends when the caller leaves.

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
 * Leases the adapters of `named` while `work` runs and its answer is sent. `signal` is aborted when the connection
 * closes first. Throws the registry's errors with the caller's parameter.
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
