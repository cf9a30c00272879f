// Implements Idempotency-Key for routes that create something: the same key and request get the first answer again, and
// nothing is created twice. Clients repeat a request by themselves when its answer is lost.

import { createHash } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { LorikeetError } from '../../../core/errors.ts';
import type { AskedOnce } from '../../../tenants/kept-answers.ts';
import type { Services } from '../../services.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether the route creates something and its answer may be kept, since it holds no secret. */
    isIdempotent?: boolean;
  }
  interface FastifyRequest {
    askedOnce: AskedOnce | null;
  }
}

const header = 'idempotency-key';
export const replayedHeader = 'idempotent-replayed';
/** Headers that are kept with an answer's body. */
const keptHeaders = ['content-type', 'location'] as const;

export function addIdempotency(app: FastifyInstance, { keptAnswers }: Services): void {
  app.decorateRequest('askedOnce', null);
  app.addHook('preHandler', async (request, reply) => {
    const key = request.headers[header];
    if (key === undefined || !request.routeOptions.config.isIdempotent) return;
    if (typeof key !== 'string' || !/^[\x20-\x7e]{1,255}$/.test(key)) {
      const message = 'Idempotency-Key must have 1 to 255 printable characters.';
      throw new LorikeetError('invalid_parameter', { message, param: header });
    }
    const asked = { tenant: request.tenant, key, request: fingerprint(request) };
    const before = await keptAnswers.begin(asked);
    if (before === null) {
      request.askedOnce = asked;
      return;
    }
    return reply
      .status(before.status)
      .headers({ ...before.headers, [replayedHeader]: 'true' })
      .send(before.body);
  });
  app.addHook('onSend', async (request, reply, payload) => {
    const { askedOnce } = request;
    if (askedOnce === null) return;
    request.askedOnce = null;
    // A refused request created nothing: repeated it is refused again, and keeping the refusal would only take room.
    const mayAgain = reply.statusCode >= 300 || typeof payload !== 'string';
    const headers = Object.fromEntries(keptHeaders.map((name) => [name, String(reply.getHeader(name) ?? '')]));
    const said = Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== ''));
    const kept = mayAgain
      ? keptAnswers.forget(askedOnce)
      : keptAnswers.finish(askedOnce, { status: reply.statusCode, headers: said, body: payload });
    await kept.catch((error) => request.log.error({ err: error }, 'an answer could not be kept'));
  });
}

/** Hash of what is asked. The bytes of a form are not read yet, so its length stands for them. */
function fingerprint({ method, url, body, headers }: FastifyRequest): string {
  const content = body === undefined ? `${headers['content-length'] ?? ''} bytes` : JSON.stringify(body);
  return createHash('sha256').update(`${method} ${url}\n${content}`).digest('hex');
}
