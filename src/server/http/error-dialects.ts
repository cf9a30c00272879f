// Errors in the shapes of other interfaces than OpenAI's: status and body.

import type { FastifyInstance } from 'fastify';
import type { LorikeetError } from '../../core/errors.ts';
import type { Services } from '../services.ts';
import { errorAnswer } from './error-answer.ts';
import { answerError, toLorikeetError } from './plugins/errors.ts';

export type ErrorDialect = {
  /** HTTP status of an error; left out: the error's own. */
  status?(error: LorikeetError): number;
  body(error: LorikeetError): object;
};

/** Answers errors of this scope's routes in the dialect. */
export function answerErrorsIn(app: FastifyInstance, services: Services, dialect: ErrorDialect): void {
  app.setErrorHandler((cause, request, reply) => {
    const error = toLorikeetError(cause);
    const status = dialect.status?.(error) ?? error.status;
    return answerError(services, error, request, reply, { status, body: dialect.body(error) });
  });
}

const vllmTypes: Readonly<Record<number, string>> = { 400: 'InvalidUserInput', 404: 'NotFoundError' };

/** vLLM's error types, with an older version's fields beside `error`: vLLM's operators read one or the other. */
export const vllmErrors: ErrorDialect = {
  body(error) {
    const { message, type, param, code } = errorAnswer(error).error;
    const theirs = vllmTypes[error.status] ?? type;
    const inside = { message, type: theirs, param, code };
    return { error: inside, object: 'error', message, type: theirs, param, code: error.status };
  },
};

const tgiTypes: Readonly<Record<string, string>> = {
  overloaded_error: 'overloaded',
  server_error: 'generation',
  rate_limit_error: 'overloaded',
};

/** Errors of text-generation-inference and LoRAX, where an invalid request is 422. */
export const tgiErrors: ErrorDialect = {
  status: ({ status }) => (status === 400 ? 422 : status),
  body: ({ message, type }) => ({ error: message, error_type: tgiTypes[type] ?? 'validation' }),
};

const anthropicTypes: Readonly<Record<number, string>> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  503: 'overloaded_error',
};

export const anthropicErrors: ErrorDialect = {
  body({ status, message }) {
    const type = anthropicTypes[status] ?? (status < 500 ? 'invalid_request_error' : 'api_error');
    return { type: 'error', error: { type, message } };
  },
};

export const ollamaErrors: ErrorDialect = { body: ({ message }) => ({ error: message }) };
