// GET /v1/admin/replicas: the servers that share this one's database.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { listJson } from '../../../adapters/adapter-json.ts';
import { epochSeconds } from '../../../http/epoch-seconds.ts';
import { errorAnswers } from '../../../schemas/error.ts';
import { ReplicaList } from '../../../schemas/replicas.ts';
import type { Services } from '../../../services.ts';

const schema = {
  tags: ['operation'],
  summary: "Servers that share this one's database: whether others wait for them, and what they have not seen",
  response: { 200: ReplicaList, ...errorAnswers },
};

export const replicasRoute =
  ({ changes }: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get('/v1/admin/replicas', { config: { scope: 'operator' }, schema }, async () =>
      listJson(
        (await changes.list()).map(({ id, isSelf, startedAt, leaseMs, behind, draining, status }) => ({
          ...{ id, object: 'replica' as const, is_this: isSelf, started_at: epochSeconds(startedAt) },
          lease_seconds: Number.isFinite(leaseMs) ? leaseMs / 1000 : null,
          ...{ changes_behind: behind, deletions_waiting: draining, status },
        })),
      ),
    );
  };
