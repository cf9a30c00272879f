// GET /v1/admin/settings: this server's settings and the origin of each. Secrets are masked.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { listJson } from '../../../adapters/adapter-json.ts';
import { errorAnswers } from '../../../schemas/error.ts';
import { SettingList } from '../../../schemas/settings.ts';
import type { Services } from '../../../services.ts';

const schema = {
  tags: ['operation'],
  summary: 'Settings with their origin; secrets are masked',
  response: { 200: SettingList, ...errorAnswers },
};

export const settingsRoute =
  ({ settings }: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get('/v1/admin/settings', { config: { scope: 'operator' }, schema }, async () =>
      listJson(
        settings.map(({ env, shown, origin }) => ({ id: env, object: 'setting' as const, value: shown, origin })),
      ),
    );
  };
