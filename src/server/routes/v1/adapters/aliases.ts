// /v1/adapters/{name}/aliases: names that move between versions, to promote a version, try it on a share of the
// requests, or roll back.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { LorikeetError } from '../../../../core/errors.ts';
import type { AdapterAlias, AliasTarget } from '../../../../registry/adapter-registry.ts';
import { aliasJson, listJson } from '../../../adapters/adapter-json.ts';
import { etagOf, expectedRevision } from '../../../http/etag.ts';
import { Deletion, NameParams } from '../../../schemas/adapters.ts';
import { Alias, AliasBody, AliasList, AliasParams } from '../../../schemas/aliases.ts';
import { errorAnswers } from '../../../schemas/error.ts';
import type { Services } from '../../../services.ts';

const tags = ['adapters'];
const config = { scope: 'adapters' } as const;
const url = '/v1/adapters/:name/aliases';
const conditions =
  'With `If-Match` it changes only what its caller has seen, with `If-None-Match: *` only what is new.';
const list = { tags, summary: 'Aliases', params: NameParams, response: { 200: AliasList, ...errorAnswers } };
const one = { tags, summary: 'One alias', params: AliasParams, response: { 200: Alias, ...errorAnswers } };
const put = {
  tags,
  summary: 'Point an alias to a version, or to several by weight',
  description: conditions,
  params: AliasParams,
  body: AliasBody,
  response: { 200: Alias, ...errorAnswers },
};
const remove = {
  tags,
  summary: 'Delete an alias',
  description: conditions,
  params: AliasParams,
  response: { 200: Deletion, ...errorAnswers },
};

export const aliasesRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { registry } = services;

    app.get(url, { config, schema: list }, async ({ tenant, params: { name } }) => {
      return listJson((await registry.aliases(tenant, name)).map(aliasJson));
    });

    app.get(`${url}/:alias`, { config, schema: one }, async ({ tenant, params: { name, alias } }, reply) => {
      const found = (await registry.aliases(tenant, name)).find((one) => one.alias === alias);
      if (found === undefined) {
        const message = `The alias '${name}:${alias}' does not exist.`;
        throw new LorikeetError('alias_not_found', { message, param: 'alias' });
      }
      return reply.header('etag', etagOf(found.revision)).send(aliasJson(found));
    });

    app.put(`${url}/:alias`, { config: { ...config, audit: 'aliases.set' }, schema: put }, async (request, reply) => {
      const { tenant, params, body, headers } = request;
      const before = await aliasOf(services, tenant, params);
      const change = { ...params, targets: targetsOf(body), expected: expectedRevision(headers) };
      const changed = await registry.setAlias(tenant, change);
      request.changed = { before: before && aliasJson(before), after: aliasJson(changed) };
      return reply.header('etag', etagOf(changed.revision)).send(aliasJson(changed));
    });

    app.delete(`${url}/:alias`, { config: { ...config, audit: 'aliases.delete' }, schema: remove }, async (request) => {
      const { tenant, params, headers } = request;
      const { name, alias } = params;
      const before = await aliasOf(services, tenant, params);
      await registry.deleteAlias(tenant, name, alias, expectedRevision(headers));
      request.changed = { before: before && aliasJson(before), after: null };
      return { id: `${name}:${alias}`, object: 'adapter.alias', deleted: true };
    });
  };

/** The alias; null where it does not exist, or no adapter has the name. */
async function aliasOf(
  { registry }: Services,
  tenant: string,
  { name, alias }: { readonly name: string; readonly alias: string },
): Promise<AdapterAlias | null> {
  const all = await registry.aliases(tenant, name).catch(() => []);
  return all.find((one) => one.alias === alias) ?? null;
}

function targetsOf({ version, weights, targets }: AliasBody): AliasTarget[] {
  const refuse = (message: string, param: string) => new LorikeetError('invalid_parameter', { message, param });
  if (targets !== undefined) {
    if (version !== undefined || weights !== undefined)
      throw refuse('targets excludes version and weights.', 'targets');
    const twice = targets.findIndex((target, i) => targets.findIndex((one) => one.version === target.version) < i);
    if (twice === -1) return targets;
    throw refuse('Each version may be there once.', `targets[${twice}].version`);
  }
  if (weights !== undefined) {
    if (version !== undefined && !Object.hasOwn(weights, version)) {
      throw refuse(`weights says nothing of version ${version}.`, 'weights');
    }
    return Object.entries(weights).map(([key, weight]) => ({ version: Number(key), weight }));
  }
  if (version !== undefined) return [{ version, weight: 1 }];
  throw new LorikeetError('missing_parameter', { message: 'version is required.', param: 'version' });
}
