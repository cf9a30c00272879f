// Errors of the two routes that vLLM's operators call, as vLLM gives them: its own types, and the fields of an older
// version beside `error`, which controllers read too.

import type { FastifyInstance } from 'fastify';
import { errorAnswer } from './error-answer.ts';
import { answerError, toLorikeetError } from './plugins/errors.ts';
import type { Services } from './services.ts';

const types: Readonly<Record<number, string>> = { 400: 'InvalidUserInput', 404: 'NotFoundError' };

/** For the routes of this scope alone. */
export function answerErrorsAsVllm(app: FastifyInstance, services: Services): void {
  app.setErrorHandler((cause, request, reply) => {
    const error = toLorikeetError(cause);
    const type = types[error.status];
    if (type === undefined) return answerError(services, error, request, reply);
    const { message, param, code } = errorAnswer(error).error;
    const body = { error: { message, type, param, code }, object: 'error', message, type, param, code: error.status };
    return answerError(services, error, request, reply, body);
  });
}
