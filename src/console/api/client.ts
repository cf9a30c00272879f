// Sends requests to the server that served the page, with the tab's key. A refusal becomes an ApiError.

import { keyRefused, session } from '../state/session.ts';

export class ApiError extends Error {
  readonly status: number;
  /** A code of /openapi.json, which are stable; `network` where there was no answer. */
  readonly code: string;
  readonly param: string | null;

  constructor(status: number, code: string, message: string, param: string | null = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.param = param;
  }
}

export type Ask = {
  readonly method?: string;
  /** Value that is sent as JSON. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
};

/** Gives the answer's JSON, which is not checked. Throws ApiError. */
export async function ask<T>(path: string, options: Ask = {}): Promise<T> {
  return (await (await open(path, options)).json()) as T;
}

/** Gives the answer to a request that was not refused; its body is still to be read. Throws ApiError. */
export async function open(path: string, { method = 'GET', body, headers = {}, signal }: Ask = {}): Promise<Response> {
  const init: RequestInit = { method, headers: { ...keyHeader(), ...headers }, cache: 'no-store' };
  if (signal) init.signal = signal;
  if (body !== undefined) {
    init.headers = { ...(init.headers as object), 'content-type': 'application/json' };
    init.body = JSON.stringify(body);
  }
  const used = session.get().key;
  const response = await fetch(path, init).catch((error: unknown) => {
    if (signal?.aborted) throw error;
    throw unreachable();
  });
  if (response.ok) return response;
  const error = errorOf(response.status, await response.text());
  if (error.status === 401) keyRefused(used);
  throw error;
}

export const keyHeader = (): Record<string, string> => {
  const { key } = session.get();
  return key === null ? {} : { authorization: `Bearer ${key}` };
};

export const unreachable = () => new ApiError(0, 'network', 'The server does not answer.');

/** Makes an error from a refusal's body, which may not be JSON where a proxy sent it. */
export function errorOf(status: number, text: string): ApiError {
  try {
    const { error } = JSON.parse(text) as { error: { code: string; message: string; param: string | null } };
    return new ApiError(status, error.code, error.message, error.param);
  } catch {
    return new ApiError(status, 'unknown', `The server answered ${status}.`);
  }
}

/** Escapes a name for an address: `/` becomes `%2F`. */
export const part = encodeURIComponent;
