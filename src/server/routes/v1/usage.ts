// GET /v1/usage: what the caller's tenant used, by minute and adapter, equal to the sum of its answers.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { LorikeetError } from '../../../core/errors.ts';
import type { UsageRow } from '../../../storage/tables.ts';
import { errorAnswers } from '../../schemas/error.ts';
import { UsageList, UsageQuery } from '../../schemas/usage.ts';
import type { Services } from '../../services.ts';

const schema = {
  tags: ['operation'],
  summary: "What the caller's tenant used, by minute and adapter",
  description:
    'Counts equal the sums of `usage` in the answers, of callers who left as far as their answers came. A request ' +
    'that the server failed counts nothing. An answer is counted before its last word is sent.',
  querystring: UsageQuery,
  response: { 200: UsageList, ...errorAnswers },
};

export const usageRoute =
  ({ service, limits }: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get('/v1/usage', { config: { scope: 'generate' }, schema }, async ({ tenant, query }) => {
      const limit = Math.min(Number(query.limit ?? limits.listPage), limits.listPage);
      const from = Math.floor(Number(query.start_time ?? 0) / 60);
      const to = query.end_time === undefined ? Number.MAX_SAFE_INTEGER : Math.floor(Number(query.end_time) / 60);
      const after = query.page === undefined ? null : placeOf(query.page);
      const found = await service.usage.list(tenant, { from, to, after, limit: limit + 1 });
      const rows = found.slice(0, limit);
      const hasMore = found.length > limit;
      return {
        object: 'list' as const,
        data: rows.map(usageJson),
        has_more: hasMore,
        next_page: hasMore ? pageAfter(rows.at(-1)!) : null,
      };
    });
  };

const usageJson = ({ tenant: _, minute, adapter, ...counts }: UsageRow) => ({
  object: 'usage' as const,
  start_time: minute * 60,
  adapter_digest: adapter === '' ? null : adapter,
  ...counts,
});

const pageAfter = ({ minute, adapter }: UsageRow) => `${minute} ${adapter}`;

function placeOf(page: string): { minute: number; adapter: string } {
  const [, minute, adapter] = /^(\d{1,15}) (.*)$/s.exec(page) ?? [];
  if (minute === undefined) {
    throw new LorikeetError('invalid_parameter', { message: 'page is no next_page of this route.', param: 'page' });
  }
  return { minute: Number(minute), adapter: adapter! };
}
