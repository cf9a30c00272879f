// Which bodies are read, and how: JSON, except where a route takes an upload.

import type { FastifyInstance } from 'fastify';
import { LorikeetError } from '../../core/errors.ts';

/** As JSON makes it: a list is none, and neither is the stream of an upload. */
const isObject = (body: unknown): body is object =>
  typeof body === 'object' && body !== null && Object.getPrototypeOf(body) === Object.prototype;

export function addBodies(app: FastifyInstance): void {
  app.removeContentTypeParser(['text/plain', 'application/json']);
  const parseJson = app.getDefaultJsonParser('error', 'error');
  // OpenAI's Python client labels the body that its DELETE, or its POST to a route that takes none, does not have.
  app.addContentTypeParser<string>('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '' && request.routeOptions.schema?.body === undefined) done(null, undefined);
    else parseJson(request, body, done);
  });

  // `curl -d` labels its body as a form, so a form's label is read as JSON. Not from a browser: any web page may send
  // a form to this server without asking first, and a browser says so with an Origin.
  const form = 'application/x-www-form-urlencoded';
  app.addContentTypeParser<string>(form, { parseAs: 'string' }, (request, body, done) => {
    if (request.headers.origin !== undefined) done(new LorikeetError('unsupported_media_type'));
    else parseJson(request, body, done);
  });

  // OpenAI's clients send null for what was not set: it means absent.
  app.addHook('preValidation', async (request) => {
    const { body } = request;
    if (!isObject(body)) return;
    request.body = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
  });
}
