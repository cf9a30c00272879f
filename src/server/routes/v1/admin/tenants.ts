// /v1/admin/tenants: tenants, their quotas, and whether their keys are refused.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { listJson } from '../../../adapters/adapter-json.ts';
import { tenantJson } from '../../../admin/operation-json.ts';
import { errorAnswers } from '../../../schemas/error.ts';
import { Tenant, TenantBody, TenantList, TenantParams } from '../../../schemas/operation.ts';
import type { Services } from '../../../services.ts';

const tags = ['operator'];
const config = { scope: 'operator' } as const;
const url = '/v1/admin/tenants';
const params = TenantParams;
const list = { tags, summary: 'Tenants by name', response: { 200: TenantList, ...errorAnswers } };
const one = { tags, summary: 'One tenant', params, response: { 200: Tenant, ...errorAnswers } };
const put = {
  tags,
  summary: "Set a tenant's quota, or refuse all of its keys",
  params,
  body: TenantBody,
  response: { 200: Tenant, ...errorAnswers },
};

export const tenantsRoute =
  ({ tenants }: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get(url, { config, schema: list }, async () => listJson((await tenants.list()).map(tenantJson)));

    app.get(`${url}/:tenant`, { config, schema: one }, async ({ params: { tenant } }) => {
      return tenantJson(await tenants.find(tenant));
    });

    app.put(`${url}/:tenant`, { config: { ...config, audit: 'tenants.change' }, schema: put }, async (request) => {
      const { tenant } = request.params;
      const { disabled, quota, unset = [] } = request.body;
      const before = (await tenants.list()).find(({ name }) => name === tenant);
      const change = unset.includes('quota') ? { quota: null } : quota === undefined ? {} : { quota };
      const after = await tenants.change(tenant, { ...change, ...(disabled === undefined ? {} : { disabled }) });
      request.changed = {
        ...{ tenant, target: tenant },
        ...{ before: before === undefined ? null : tenantJson(before), after: tenantJson(after) },
      };
      return tenantJson(after);
    });
  };
