// Requests to the server that served the page, with the tab's key. What is refused becomes an ApiError.

import { keyRefused, session } from '../state/session.ts';

export class ApiError extends Error {
  readonly status: number;
  /** Stable, as /openapi.json lists them; `network` where there was no answer. */
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
  /** Becomes JSON. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
};

/** The answer's JSON. Throws ApiError. */
export async function ask<T>(path: string, options: Ask = {}): Promise<T> {
  return (await (await open(path, options)).json()) as T;
}

/** An answer that was not refused, its body still to be read. Throws ApiError. */
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

/** Of a refusal's body; a proxy's may be no JSON. */
export function errorOf(status: number, text: string): ApiError {
  try {
    const { error } = JSON.parse(text) as { error: { code: string; message: string; param: string | null } };
    return new ApiError(status, error.code, error.message, error.param);
  } catch {
    return new ApiError(status, 'unknown', `The server answered ${status}.`);
  }
}

/** A name as a part of an address: its `/` is `%2F`. */
export const part = encodeURIComponent;
