// Answers lines of batches as requests from inside, through the same schemas, quotas and routes as all others. A line
// acts as its batch's tenant, with the rights that the batch's key has at that moment.

import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type ErrorCode, errorTable, LorikeetError } from '../../../core/errors.ts';
import type { AnswerLine } from '../../../jobs/batches/batches.ts';
import { opens, type Scope } from '../../../tenants/scopes.ts';
import type { Services } from '../../services.ts';

declare module 'fastify' {
  interface FastifyInstance {
    /** Answers one line of a batch. */
    answerLine: AnswerLine;
  }
  interface FastifyRequest {
    /** Whether this is a line of a batch, whose answer nobody waits for. */
    isBackground: boolean;
  }
}

const header = 'x-lorikeet-line';

export function addLines(app: FastifyInstance, { newId, lines }: Services): void {
  app.decorateRequest('isBackground', false);
  app.decorate('answerLine', async ({ endpoint, body, ...asker }) => {
    const word = newId();
    lines.set(word, asker);
    try {
      const headers = { [header]: word, 'content-type': 'application/json' };
      const answer = await app.inject({ method: 'POST', url: endpoint, headers, payload: JSON.stringify(body) });
      asker.signal.throwIfAborted();
      const said = answer.json<{ error?: { code?: string } }>();
      const status = answer.statusCode;
      const requestId = String(answer.headers['x-request-id'] ?? '');
      const after = Number(answer.headers['retry-after'] ?? 1);
      return {
        status,
        requestId,
        body: said,
        retryAfterSeconds: isForNow(said.error?.code) ? Math.max(1, after) : null,
      };
    } finally {
      lines.delete(word);
    }
  });
  app.addHook('onRequest', async (request, reply) => {
    const line = lines.get(String(request.headers[header]));
    if (line === undefined) return;
    request.isBackground = true;
    const leave = () => reply.raw.destroy();
    if (line.signal.aborted) leave();
    line.signal.addEventListener('abort', leave, { once: true });
    reply.raw.once('close', () => line.signal.removeEventListener('abort', leave));
  });
}

function isForNow(code: string | undefined): boolean {
  const row = errorTable[code as ErrorCode] as { readonly status: number; readonly retryable?: boolean } | undefined;
  return row?.retryable === true;
}

type LineCaller = Pick<FastifyRequest, 'tenant' | 'keyPrefix' | 'isOperator' | 'allowedAdapters' | 'can'>;

/**
 * The caller of a batch line; null for a request from outside. Throws `invalid_api_key` where the batch's key is no
 * longer valid.
 */
export async function lineCaller(services: Services, request: FastifyRequest): Promise<LineCaller | null> {
  const { lines, keys, tenants, clock } = services;
  const word = String(request.headers[header]);
  const line = lines.get(word);
  if (line === undefined) return null;
  const { tenant, keyPrefix } = line;
  const all = { tenant, keyPrefix, isOperator: false, allowedAdapters: null, can: () => true };
  if (keyPrefix === null || (keyPrefix === 'admin' && services.adminKey !== null)) return all;
  let record = await keys.find(keyPrefix);
  const isGone = () => record === null || record.revokedAt !== null || (record.expiresAt ?? Infinity) <= clock.now();
  // A rotated key is replaced by its successor.
  while (record !== null && isGone() && record.replacedBy !== null) record = await keys.find(record.replacedBy);
  if (record === null || isGone() || tenants.isDisabled(tenant)) throw new LorikeetError('invalid_api_key');
  const { scopes, adapters: allowedAdapters, prefix } = record;
  return { ...all, keyPrefix: prefix, allowedAdapters, can: (scope: Scope) => opens(scopes, scope) };
}
