// /console: the page and its files. They contain no secret and need no key; the page gets its data from the other
// routes, with the key that the user enters.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { LorikeetError } from '../../core/errors.ts';
import { consoleAssets } from '../console/assets.ts';
import { consolePage, type Page } from '../console/page.ts';
import { takesGzip } from '../http/takes-gzip.ts';
import type { Services } from '../services.ts';

const config = { scope: 'none' } as const;
const schema = { hide: true };
const headers = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
};

export const consoleRoute =
  (_services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get('/console', { config, schema }, async (_request, reply) => reply.redirect('/console/', 308));

    let page: Page | null = null;
    app.get('/console/', { config, schema }, async (_request, reply) => {
      page ??= consolePage(await consoleAssets());
      const { html, policy } = page;
      return reply
        .headers({ ...headers, 'content-security-policy': policy, 'cache-control': 'no-cache' })
        .type('text/html; charset=utf-8')
        .send(html);
    });

    app.get<{ Params: { digest: string; '*': string } }>(
      '/console/assets/:digest/*',
      { config, schema },
      async ({ params, headers: asked }, reply) => {
        const { digest, files } = await consoleAssets();
        const file = params.digest === digest ? files.get(params['*']) : undefined;
        if (file === undefined) throw new LorikeetError('not_found');
        const packs = takesGzip(asked);
        if (packs) reply.header('content-encoding', 'gzip');
        return reply
          .headers({ ...headers, vary: 'accept-encoding', 'cache-control': 'public, max-age=31536000, immutable' })
          .type(file.type)
          .send(packs ? file.gzip : file.plain);
      },
    );
  };
