// GET /v1/admin/audit: the audit log, newest entry first.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { listJson } from '../../../adapters/adapter-json.ts';
import { auditJson } from '../../../admin/operation-json.ts';
import { readListPage } from '../../../http/list-page.ts';
import { errorAnswers } from '../../../schemas/error.ts';
import { AuditList, AuditQuery } from '../../../schemas/operation.ts';
import type { Services } from '../../../services.ts';

const schema = {
  tags: ['operator'],
  summary: 'Changes: who, what, from where, before and after, newest first',
  querystring: AuditQuery,
  response: { 200: AuditList, ...errorAnswers },
};

export const auditRoute =
  ({ audit, limits }: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get('/v1/admin/audit', { config: { scope: 'operator' }, schema }, async ({ query }) => {
      const ms = (seconds: string | undefined) => (seconds === undefined ? null : Number(seconds) * 1000);
      const { tenant = null, actor = null, action = null, since, until, after } = query;
      const before = after === undefined ? null : Number(after);
      const times = { since: ms(since), until: ms(until) };
      const { rows, hasMore } = await readListPage(limits, query.limit, (limit) =>
        audit.read({ tenant, actor, action, ...times, before, limit }),
      );
      return listJson(rows.map(auditJson), hasMore);
    });
  };
