// Answers everything that is not a success: thrown errors, unknown addresses, broken HTTP. Of an unexpected error the
// caller gets a constant sentence; its stack goes to the log.

import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorCode, LorikeetError } from '../../../core/errors.ts';
import type { Services } from '../../services.ts';
import { errorAnswer, errorHeaders } from '../error-answer.ts';
import { endSoon } from './connections.ts';

/** Codes for Fastify's own errors that are the caller's fault. */
const frameworkCodes: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_INVALID_JSON_BODY: 'invalid_json',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'invalid_json',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'unsupported_media_type',
  FST_ERR_CTP_BODY_TOO_LARGE: 'body_too_large',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'malformed_request',
  FST_ERR_BAD_URL: 'malformed_request',
  FST_ERR_MAX_PARAM_LENGTH: 'not_found',
  FST_PROTO_VIOLATION: 'unknown_parameter',
  FST_PARTS_LIMIT: 'unknown_parameter',
  FST_FILES_LIMIT: 'unknown_parameter',
  FST_FIELDS_LIMIT: 'unknown_parameter',
  FST_INVALID_JSON_FIELD_ERROR: 'invalid_json',
  FST_MP_PREMATURE_CLOSE: 'malformed_request',
  // A path outside of the folder of the documentation page's assets.
  FST_STATIC_FORBIDDEN_PATH: 'not_found',
};

/** Codes for errors of Node's HTTP parser, which happen before there is a request. */
const parserCodes: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'headers_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
};

export function addErrors(app: FastifyInstance, services: Services): void {
  const methods = methodsByRoute(app);
  const notFound = (request: FastifyRequest, reply: FastifyReply) => {
    const allowed = methods(request.url.split('?', 1)[0]!);
    if (allowed.length > 0) reply.header('allow', allowed.join(', '));
    return answerError(
      services,
      new LorikeetError(allowed.length > 0 ? 'method_not_allowed' : 'not_found'),
      request,
      reply,
    );
  };
  app.setNotFoundHandler(notFound);
  app.setErrorHandler((error: FastifyError, request, reply) =>
    // Fastify throws this for the method QUERY before it looks for a route, and no route has that method.
    error.code === 'FST_ERR_ROUTE_MISSING_CONTENT_TYPE'
      ? notFound(request, reply)
      : answerError(services, error, request, reply),
  );
}

/**
 * Answers a request with an error.
 * @param answer status and body in place of OpenAI's, for a route of another interface
 */
export function answerError(
  services: Services,
  cause: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  answer?: { readonly status: number; readonly body: object },
) {
  const error = toLorikeetError(cause);
  // A caller who has left reads no answer, and an error that their leaving caused is not the server's.
  if (error.code === 'internal_error' && request.raw.destroyed && !request.raw.complete) return reply.hijack();
  if (error.code === 'internal_error') request.log.error({ err: cause }, 'internal error');
  else if (error.cause !== undefined) request.log.debug({ err: cause }, 'what a refusal comes from');
  services.metrics.requestFailed(error.code);
  return reply
    .status(answer?.status ?? error.status)
    .headers({ 'x-request-id': request.id, ...errorHeaders(error) })
    .send(answer?.body ?? errorAnswer(error));
}

export function toLorikeetError(cause: unknown): LorikeetError {
  if (cause instanceof LorikeetError) return cause;
  const code = frameworkCodes[(cause as FastifyError | undefined)?.code ?? ''];
  return new LorikeetError(code ?? 'internal_error', { cause });
}

/** Makes the handler of parser errors, which answers on the bare socket, since there is no request. */
export function onClientError({ metrics, newId, uploads, limits }: Services) {
  return (cause: Error & { code?: string }, socket: Socket & { _httpMessage?: ServerResponse | null }): void => {
    // Node reports once that a request takes too long; an upload has a watch of its own.
    if (cause.code === 'ERR_HTTP_REQUEST_TIMEOUT' && uploads.has(socket)) return;
    // A socket that was reset, or whose answer has begun, cannot take another answer.
    if (cause.code === 'ECONNRESET' || !socket.writable || socket._httpMessage?.headersSent) {
      socket.destroy();
      return;
    }
    const error = new LorikeetError(parserCodes[cause.code ?? ''] ?? 'malformed_request');
    metrics.requestFailed(error.code);
    const body = JSON.stringify(errorAnswer(error));
    const headers = {
      'content-type': 'application/json; charset=utf-8',
      'content-length': String(Buffer.byteLength(body)),
      connection: 'close',
      'x-request-id': newId(),
      ...errorHeaders(error),
    };
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    endSoon(socket, limits.socketEndMs);
    socket.end(`HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}\r\n${lines.join('')}\r\n${body}`);
  };
}

/**
 * Makes a lookup of the methods that an address has. Fastify alone answers 404 for a known address with another method.
 */
function methodsByRoute(app: FastifyInstance): (path: string) => string[] {
  const routes = new Map<string, { pattern: RegExp; methods: string[] }>();
  app.addHook('onRoute', ({ url, method }) => {
    const source = url
      .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
      .replace(/:[^/]+/g, '[^/]+')
      .replaceAll('*', '.*');
    const route = routes.get(url) ?? { pattern: new RegExp(`^${source}$`), methods: [] };
    route.methods.push(...[method].flat());
    routes.set(url, route);
  });
  return (path) => [
    ...new Set([...routes.values()].flatMap((route) => (route.pattern.test(path) ? route.methods : []))),
  ];
}
