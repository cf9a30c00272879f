// /v1/admin/adapters and /v1/admin/jobs: lists over all tenants. To change something, an operator uses the tenant's own
// routes with the header `x-lorikeet-tenant`.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { LorikeetError } from '../../../../core/errors.ts';
import { adaptersJson, listJson } from '../../../adapters/adapter-json.ts';
import { readListPage } from '../../../http/list-page.ts';
import { errorAnswers } from '../../../schemas/error.ts';
import { AllQuery, TenantAdapterList, TenantJobList } from '../../../schemas/operation.ts';
import type { Services } from '../../../services.ts';
import { jobJson } from '../../../training/job-json.ts';

const tags = ['operator'];
const config = { scope: 'operator' } as const;
const adapters = {
  tags,
  summary: 'Adapters of all tenants, by tenant and name: the newest version of each name',
  querystring: AllQuery,
  response: { 200: TenantAdapterList, ...errorAnswers },
};
const allJobs = {
  tags,
  summary: 'Training jobs of all tenants, newest first; `organization_id` is the tenant',
  querystring: AllQuery,
  response: { 200: TenantJobList, ...errorAnswers },
};

export const contentsRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { registry, jobs, limits } = services;

    app.get('/v1/admin/adapters', { config, schema: adapters }, async ({ query }) => {
      const { tenant = null } = query;
      const after = query.after === undefined ? null : cursorOf(query.after);
      const { rows, hasMore } = await readListPage(limits, query.limit, (limit) =>
        registry.listAll({ tenant, after, limit }),
      );
      const data = await Promise.all(
        rows.map(async (adapter) => {
          const [body] = await adaptersJson(services, adapter.tenant, [adapter]);
          return { ...body!, tenant: adapter.tenant };
        }),
      );
      const list = listJson(data, hasMore);
      const ends = { first: data[0], last: data.at(-1) };
      const idOf = (one: (typeof data)[number] | undefined) => (one === undefined ? null : `${one.tenant}:${one.name}`);
      return { ...list, first_id: idOf(ends.first), last_id: idOf(ends.last) };
    });

    app.get('/v1/admin/jobs', { config, schema: allJobs }, async ({ query }) => {
      const { tenant = null, after = null } = query;
      const { rows, hasMore } = await readListPage(limits, query.limit, (limit) => jobs.list(tenant, { after, limit }));
      return listJson(rows.map(jobJson), hasMore);
    });
  };

/** Reads a cursor, `tenant:name`, which is the `last_id` of the page before. */
function cursorOf(after: string): { tenant: string; name: string } {
  const [, tenant, name] = /^([^:]+):(.+)$/.exec(after) ?? [];
  if (tenant !== undefined && name !== undefined) return { tenant, name };
  throw new LorikeetError('invalid_parameter', { message: 'after is no id of this list.', param: 'after' });
}
