// Concurrent streamed generations against a running server, timed by the client. Knows two wire formats.

import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { prng } from '../../src/core/prng.ts';

export type Dialect = {
  readonly path: string;
  /** Makes the body of request number `index`. */
  body(prompt: readonly number[], tokens: number, index: number): object;
  /** Gives the number of generated tokens from the event that ends the stream; undefined for all others. */
  tokensOf(event: Record<string, unknown>): number | undefined;
};

export const lorikeetDialect: Dialect = {
  path: '/v1/generate',
  body: (prompt, tokens) => ({ prompt, max_tokens: tokens, temperature: 0, ignore_eos: true, stream: true }),
  tokensOf: (event) => (event.usage as { completion_tokens: number } | undefined)?.completion_tokens,
};

export const llamaServerDialect: Dialect = {
  path: '/completion',
  body: (prompt, tokens) => ({
    ...{ prompt, n_predict: tokens, temperature: 0, ignore_eos: true, stream: true },
    // Every prompt is new, so the cache would only cost time.
    cache_prompt: false,
  }),
  tokensOf: (event) => (event.stop === true ? (event.tokens_predicted as number) : undefined),
};

/** Makes the same wire format with more fields in each body. */
export const withFields = (dialect: Dialect, fields: (index: number) => object): Dialect => ({
  ...dialect,
  body: (prompt, tokens, index) => ({ ...dialect.body(prompt, tokens, index), ...fields(index) }),
});

export type Load = {
  readonly requests: number;
  readonly promptTokens: number;
  readonly newTokens: number;
  /** Prompts and answers have a quarter to seven quarters of the given length; false: all have the given length. */
  readonly isMixed?: boolean;
};

/** Gives the tokens of request number `index`: seven lengths of each kind, in all combinations. */
export function lengthsOf({ promptTokens, newTokens, isMixed = false }: Load, index: number) {
  if (!isMixed) return { prompt: promptTokens, answer: newTokens };
  const part = (tokens: number, of: number) => Math.max(1, Math.round((tokens * (1 + (of % 7))) / 4));
  return { prompt: part(promptTokens, index), answer: part(newTokens, Math.floor(index / 7)) };
}

export type LoadResult = {
  readonly tokensPerSecond: number;
  readonly wallMs: number;
  /** Median over the requests of the milliseconds to the first event. */
  readonly ttftMs: number;
};

/** Sends all requests at once and waits for the last. Throws unless every request gets exactly the tokens asked for. */
export async function runLoad(url: string, dialect: Dialect, load: Load, seed: number): Promise<LoadResult> {
  const random = prng(seed);
  const began = performance.now();
  const lengths = Array.from({ length: load.requests }, (_, index) => lengthsOf(load, index));
  const ttfts = await Promise.all(
    lengths.map(async (length, index) => {
      const prompt = Array.from({ length: length.prompt }, () => promptToken(random()));
      const body = dialect.body(prompt, length.answer, index);
      return (await request(`${url}${dialect.path}`, dialect, body, length.answer)) - began;
    }),
  );
  const wallMs = performance.now() - began;
  const ttftMs = ttfts.toSorted((a, b) => a - b)[Math.floor(ttfts.length / 2)]!;
  return { tokensPerSecond: (1000 * lengths.reduce((sum, { answer }) => sum + answer, 0)) / wallMs, wallMs, ttftMs };
}

/** An ordinary token of every base model here: beyond special and single-byte tokens, below the smallest vocabulary. */
const promptToken = (random: number) => 1000 + Math.floor(random * 30_000);

/** Gives the time of the first event. */
async function request(url: string, dialect: Dialect, body: object, tokens: number): Promise<number> {
  const response = await post(url, JSON.stringify(body));
  let firstAt: number | undefined;
  let generated: number | undefined;
  for await (const line of createInterface({ input: response })) {
    if (response.statusCode !== 200) throw new Error(`${response.statusCode}: ${line}`);
    if (!line.startsWith('data: {')) continue;
    firstAt ??= performance.now();
    generated = dialect.tokensOf(JSON.parse(line.slice('data: '.length))) ?? generated;
  }
  if (firstAt === undefined || generated !== tokens) throw new Error(`${generated} tokens instead of ${tokens}`);
  return firstAt;
}

/**
 * Opens a new connection for each request: llama-server closes idle ones, and a request sent at that moment would be
 * lost.
 */
async function post(url: string, body: string): Promise<IncomingMessage> {
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
  const sent = httpRequest(url, { method: 'POST', agent: false, headers }).end(body);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return response.setEncoding('utf8');
}
