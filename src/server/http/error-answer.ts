// Gives a LorikeetError as an answer's body and headers. It knows no route and no framework.

import { errorTable, type LorikeetError } from '../../core/errors.ts';

export type ErrorAnswer = { readonly error: { message: string; type: string; param: string | null; code: string } };

export const errorAnswer = ({ message, type, param, code }: LorikeetError): ErrorAnswer => ({
  error: { message, type, param, code },
});

/** Default of retry-after in seconds, for errors that set none, such as those of an engine that restarts. */
const retrySeconds = 2;

/** Headers of an error. OpenAI's clients retry 408, 409, 429 and 5xx by themselves: these say when to, or not to. */
export function errorHeaders(error: LorikeetError): Record<string, string> {
  const headers: Record<string, string> = {};
  if ('retryable' in errorTable[error.code]) {
    const seconds = error.retryAfterSeconds ?? retrySeconds;
    headers['retry-after'] = String(seconds);
    headers['retry-after-ms'] = String(seconds * 1000);
  } else {
    headers['x-should-retry'] = 'false';
  }
  if (error.status === 401) headers['www-authenticate'] = 'Bearer realm="lorikeet"';
  return headers;
}
