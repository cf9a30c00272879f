// Sends requests to a running server for the commands that need one: finds its address and key, and turns refusals and
// unreachable servers into errors. Knows no route.

import type { Config } from '../config.ts';
import { LorikeetError } from '../core/errors.ts';
import { urlOf } from '../server/http/address.ts';

/** An error that the server answered with. Its codes may be newer than this program's. */
export class ServerRefusal extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }

  /** A line to print after the message. */
  get hint(): string {
    return this.status === 401 ? 'Set LORIKEET_API_KEY, or make a key with `lorikeet keys create`.\n' : '';
  }
}

export type Server = {
  /** Throws ServerRefusal, and `engine_unavailable` where nobody answers or the connection breaks. */
  ask(path: string, request?: RequestInit): Promise<Response>;
  post(path: string, body: object): Promise<Response>;
  /** Gives the answer's JSON, which is not checked. */
  get<T>(path: string): Promise<T>;
};

export function askServer(config: Pick<Config, 'url' | 'host' | 'port' | 'apiKey'>): Server {
  const base = (config.url ?? urlOf(config.host, config.port)).replace(/\/$/, '');
  const key: Record<string, string> = config.apiKey === null ? {} : { authorization: `Bearer ${config.apiKey}` };
  const server: Server = {
    async ask(path, request = {}) {
      const headers = { ...key, ...(request.headers as Record<string, string> | undefined) };
      const response = await fetch(`${base}${path}`, { ...request, headers }).catch((error) => {
        throw unreachable(base, error);
      });
      if (!response.ok) throw await refusal(response);
      return response;
    },
    post: (path, body) =>
      server.ask(path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
    async get<T>(path: string) {
      return (await (await server.ask(path)).json()) as T;
    },
  };
  return server;
}

function unreachable(base: string, error: Error & { cause?: NodeJS.ErrnoException }): LorikeetError {
  const reason = error.cause?.code ?? error.cause?.message ?? error.message;
  return new LorikeetError('engine_unavailable', {
    message: `No server answers at ${base} (${reason}). Start one with \`npm start\`, or set --url.`,
    cause: error,
  });
}

async function refusal(response: Response): Promise<ServerRefusal> {
  const body = (await response.json().catch(() => null)) as { error?: { message?: string; code?: string } } | null;
  const { message = response.statusText, code = String(response.status) } = body?.error ?? {};
  return new ServerRefusal(response.status, code, message);
}
