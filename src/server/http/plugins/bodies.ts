// Reads bodies: JSON, except where a route takes an upload. A body is in memory until it is whole, so the sum of all
// has a bound.

import type { IncomingMessage } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { LorikeetError } from '../../../core/errors.ts';
import { withFoldedSeeds } from '../../../core/folded-seeds.ts';
import { assertPlainJson } from '../../../core/plain-json.ts';
import { isOpaque } from '../../schemas/describe.ts';
import type { Services } from '../../services.ts';
import { bodyBytes } from '../body-bytes.ts';

/** Bytes from which on the check, the parsing and the use of a body have a turn of the event loop each. */
const largeBytes = 256 * 1024;

/** Whether a body is a JSON object, and neither a list nor the stream of an upload. */
const isObject = (body: unknown): body is object =>
  typeof body === 'object' && body !== null && Object.getPrototypeOf(body) === Object.prototype;

export function addBodies(app: FastifyInstance, { limits }: Services): void {
  app.removeContentTypeParser(['text/plain', 'application/json']);
  const parseJson = app.getDefaultJsonParser('error', 'error');

  const places = bodyBytes(limits);

  /** Reads the whole body. Throws `body_too_large`, `server_overloaded`, `malformed_request`. */
  const read = async (request: FastifyRequest, payload: IncomingMessage): Promise<Buffer> => {
    const bytesMax = request.routeOptions.bodyLimit;
    const announced = Number(request.headers['content-length'] ?? Number.NaN);
    if (announced > bytesMax) throw new LorikeetError('body_too_large');
    // A body without a length counts with the most that it may have.
    const giveBack = places.take(request.tenant, Number.isFinite(announced) ? announced : bytesMax);
    try {
      return await bytesOf(payload, bytesMax);
    } finally {
      giveBack();
    }
  };
  const parse = async (request: FastifyRequest, bytes: Buffer): Promise<unknown> => {
    // The check of 4 MB takes 20 ms, parsing up to 50, and the schema follows: other requests have turns in between.
    const turn = async () => {
      if (bytes.length > largeBytes) await setImmediate();
    };
    assertPlainJson(bytes, limits);
    await turn();
    const value = await new Promise<unknown>((resolve, reject) => {
      parseJson(request, withFoldedSeeds(bytes.toString()), (error, body) => (error ? reject(error) : resolve(body)));
    });
    await turn();
    return value;
  };

  // OpenAI's Python client sends this content type without a body, for DELETE and for POST to routes that take none.
  app.addContentTypeParser('application/json', async (request: FastifyRequest, payload: IncomingMessage) => {
    const bytes = await read(request, payload);
    if (bytes.length === 0 && request.routeOptions.schema?.body === undefined) return undefined;
    return await parse(request, bytes);
  });

  // `curl -d` sends the content type of a form, so that is read as JSON too. A browser's form is refused, which any web
  // page may send without asking first: a browser adds an Origin.
  const form = 'application/x-www-form-urlencoded';
  app.addContentTypeParser(form, async (request: FastifyRequest, payload: IncomingMessage) => {
    if (request.headers.origin !== undefined) throw new LorikeetError('unsupported_media_type');
    return await parse(request, await read(request, payload));
  });

  // OpenAI's clients send null for fields that are not set: null means absent, at every depth.
  app.addHook('preValidation', async (request) => {
    if (!isObject(request.body)) return;
    const names = Object.keys(request.body);
    if (names.length > limits.bodyMembers) {
      const message = `The body has ${names.length} members; at most ${limits.bodyMembers} are taken.`;
      throw new LorikeetError('invalid_parameter', { message });
    }
    dropNulls(request.body, names, true);
  });
}

async function bytesOf(payload: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of payload as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > bytesMax) throw new LorikeetError('body_too_large');
      chunks.push(chunk);
    }
  } catch (cause) {
    if (cause instanceof LorikeetError) throw cause;
    throw new LorikeetError('malformed_request', { message: 'The body broke off.', cause });
  }
  return Buffer.concat(chunks);
}

/** Deletes null members in place: a copy of megabytes takes longer than parsing them. */
function dropNulls(value: object, names = Object.keys(value), isTop = false): void {
  const members = value as Record<string, unknown>;
  for (const name of names) {
    const member = members[name];
    if (member === null) delete members[name];
    else if (typeof member === 'object' && !isOpaque(name, isTop)) dropNullsOf(member);
  }
}

function dropNullsOf(value: object | undefined): void {
  if (Array.isArray(value)) {
    for (const entry of value) if (typeof entry === 'object' && entry !== null) dropNullsOf(entry);
  } else if (isObject(value)) dropNulls(value);
}
