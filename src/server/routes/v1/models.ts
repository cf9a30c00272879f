// GET /v1/models and /v1/models/{model}, DELETE /v1/models/{model}: the models that a request may name in `model`.

import { type FastifyPluginAsyncTypebox, Type } from '@fastify/type-provider-typebox';
import { LorikeetError } from '../../../core/errors.ts';
import type { AdapterVersion, NamedAdapter } from '../../../registry/adapter-registry.ts';
import { isAllowed } from '../../adapters/allowed-adapters.ts';
import { deleteAdapter } from '../../adapters/deletion.ts';
import { blame } from '../../adapters/held-adapters.ts';
import { adapterCard, baseModelCard } from '../../generation/models.ts';
import { Deletion } from '../../schemas/adapters.ts';
import { errorAnswers } from '../../schemas/error.ts';
import { ModelCard, ModelList, ModelsQuery } from '../../schemas/models.ts';
import type { Services } from '../../services.ts';

const tags = ['models'];
const url = '/v1/models/:model';
const config = { scope: 'generate' } as const;
const params = Type.Object({ model: Type.String() });
const list = {
  tags,
  summary: 'List what can be asked for',
  description: "The base model, then the caller's adapters by name, each followed by its aliases.",
  querystring: ModelsQuery,
  response: { 200: ModelList, ...errorAnswers },
};
const one = { tags, summary: 'One model', params, response: { 200: ModelCard, ...errorAnswers } };
const remove = {
  tags,
  summary: 'Delete an adapter',
  description: '`name` is deleted whole, `name@version` alone; 202 while requests in flight still use it.',
  params,
  response: { 200: Deletion, 202: Deletion, ...errorAnswers },
};

export const modelsRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { registry, model, limits } = services;

    app.get('/v1/models', { config, schema: list }, async ({ tenant, allowedAdapters, query }) => {
      const listed = await listAdapters(services, tenant, Number(query.limit ?? limits.listedModels));
      const adapters = listed.filter(({ name }) => isAllowed(allowedAdapters, name));
      const cards: ModelCard[] = [];
      for (let first = 0; first < adapters.length; first += limits.listPage) {
        const page = adapters.slice(first, first + limits.listPage);
        const named = await registry.named(
          tenant,
          page.map(({ name }) => name),
        );
        for (const adapter of page) cards.push(...cardsOf(services, adapter, named.get(adapter.name)));
      }
      return { object: 'list' as const, data: [baseModelCard(services), ...cards] };
    });

    app.get(url, { config, schema: one }, async ({ tenant, params: { model: id } }) => {
      if (id === model.name) return baseModelCard(services);
      const adapter = await registry.find(tenant, id).catch((error) => {
        throw blame(error, { reference: id, param: 'model' });
      });
      return adapterCard(services, id, adapter);
    });

    app.delete(
      url,
      { config: { scope: 'adapters', audit: 'adapters.delete' }, schema: remove },
      async (request, reply) => {
        const id = request.params.model;
        const deleted = await deleteAdapter(services, request, deletable(services, id)).catch((error) => {
          throw blame(error, { reference: id, param: 'model' });
        });
        return reply.status(deleted ? 200 : 202).send({ id, object: 'model', deleted });
      },
    );
  };

/** Cards of one name: the name itself, with its versions, and each of its aliases. */
function cardsOf(services: Services, adapter: AdapterVersion, named: NamedAdapter | undefined): ModelCard[] {
  // The name was deleted meanwhile.
  if (named === undefined) return [];
  const { name } = adapter;
  const { versions } = named;
  const byVersion = new Map(versions.map((version) => [version.version, version]));
  const card = {
    ...adapterCard(services, name, adapter),
    versions: versions.map(({ version }) => `${name}@${version}`),
  };
  const aliases = named.aliases.flatMap(({ alias, targets }) => {
    const largest = targets.toSorted((a, b) => b.weight - a.weight)[0]?.version;
    const target = largest === undefined ? undefined : byVersion.get(largest);
    return target === undefined ? [] : [adapterCard(services, `${name}:${alias}`, target)];
  });
  return [card, ...aliases];
}

async function listAdapters({ registry, limits }: Services, tenant: string, count: number): Promise<AdapterVersion[]> {
  const adapters: AdapterVersion[] = [];
  while (adapters.length < count) {
    const after = adapters.at(-1)?.name ?? null;
    const page = await registry.list(tenant, { after, limit: Math.min(limits.listPage, count - adapters.length) });
    adapters.push(...page);
    if (page.length < limits.listPage) break;
  }
  return adapters;
}

function deletable({ model }: Services, id: string): { name: string; version: number | null } {
  const [, name, version] = /^([^@:]+)(?:@([1-9]\d{0,8}))?$/.exec(id) ?? [];
  if (name !== undefined && id !== model.name) return { name, version: version === undefined ? null : Number(version) };
  const what = id === model.name ? 'The base model' : 'An alias';
  const message = `${what} is not deleted here; \`name\` and \`name@version\` are.`;
  throw new LorikeetError('invalid_parameter', { message, param: 'model' });
}
