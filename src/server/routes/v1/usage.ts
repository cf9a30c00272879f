// GET /v1/usage: what the caller's tenant used, by minute and adapter, equal to the sum of its answers. GET
// /v1/admin/usage: the same for an operator, of one tenant or all.

import type { FastifyPluginAsyncTypebox, Static } from '@fastify/type-provider-typebox';
import type { UsageRow } from '../../../storage/tables.ts';
import { readListPage } from '../../http/list-page.ts';
import { errorAnswers } from '../../schemas/error.ts';
import { AdminUsageQuery, UsageList, UsageQuery } from '../../schemas/usage.ts';
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

const adminSchema = {
  ...schema,
  tags: ['operator'],
  summary: 'What tenants used: one of them, or all',
  querystring: AdminUsageQuery,
};

export const usageRoute =
  ({ service, limits }: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const pageOf = async (tenant: string | null, query: Static<typeof UsageQuery>) => {
      const from = Math.floor(Number(query.start_time ?? 0) / 60);
      const to = query.end_time === undefined ? Number.MAX_SAFE_INTEGER : Math.floor(Number(query.end_time) / 60);
      const after = query.page === undefined ? null : placeOf(query.page);
      const { rows, hasMore } = await readListPage(limits, query.limit, (limit) =>
        service.usage.list(tenant, { from, to, after, limit }),
      );
      return {
        object: 'list' as const,
        data: rows.map(usageJson),
        has_more: hasMore,
        next_page: hasMore ? pageAfter(rows.at(-1)!) : null,
      };
    };

    app.get('/v1/usage', { config: { scope: 'generate' }, schema }, ({ tenant, query }) => pageOf(tenant, query));

    app.get('/v1/admin/usage', { config: { scope: 'operator' }, schema: adminSchema }, ({ query }) => {
      const { tenant, ...page } = query;
      return pageOf(tenant ?? null, page);
    });
  };

const usageJson = ({ tenant, minute, adapter, ...counts }: UsageRow) => ({
  object: 'usage' as const,
  tenant,
  start_time: minute * 60,
  adapter_digest: adapter === '' ? null : adapter,
  ...counts,
});

const pageAfter = ({ minute, tenant, adapter }: UsageRow) => `${minute} ${tenant} ${adapter}`;

/** Reads a page's cursor, whose form the schema has checked. */
function placeOf(page: string): { minute: number; adapter: string; tenant: string } {
  const [minute, tenant, adapter] = page.split(' ');
  return { minute: Number(minute), adapter: adapter!, tenant: tenant! };
}
