// /v1/admin/keys: keys of all tenants. A key is shown once, in the answer that makes it.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import { LorikeetError } from '../../../../core/errors.ts';
import type { KeyChange, KeyRecord } from '../../../../tenants/keys.ts';
import { listJson } from '../../../adapters/adapter-json.ts';
import { keyJson } from '../../../admin/operation-json.ts';
import { readListPage } from '../../../http/list-page.ts';
import { errorAnswers } from '../../../schemas/error.ts';
import {
  Key,
  KeyBody,
  KeyList,
  KeyParams,
  KeyPatch,
  KeyQuery,
  NewKey,
  RotateBody,
} from '../../../schemas/operation.ts';
import type { Services } from '../../../services.ts';

const tags = ['operator'];
const config = { scope: 'operator' } as const;
const url = '/v1/admin/keys';
const params = KeyParams;
const list = {
  tags,
  summary: 'Keys of all tenants, or of one',
  querystring: KeyQuery,
  response: { 200: KeyList, ...errorAnswers },
};
const create = {
  tags,
  summary: 'Make a key; it is shown in this answer and never again',
  body: KeyBody,
  response: { 201: NewKey, ...errorAnswers },
};
const one = { tags, summary: 'One key', params, response: { 200: Key, ...errorAnswers } };
const change = {
  tags,
  summary: 'Change what a key may do',
  params,
  body: KeyPatch,
  response: { 200: Key, ...errorAnswers },
};
const rotate = {
  tags,
  summary: 'Make a key that takes its place; both work for a while',
  params,
  body: RotateBody,
  response: { 201: NewKey, ...errorAnswers },
};
const revoke = { tags, summary: 'Refuse a key from now on', params, response: { 200: Key, ...errorAnswers } };

export const keysRoute =
  ({ keys, limits }: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    app.get(url, { config, schema: list }, async ({ query }) => {
      const { tenant = null, after = null } = query;
      const { rows, hasMore } = await readListPage(limits, query.limit, (limit) => keys.page({ tenant, after, limit }));
      return listJson(rows.map(keyJson), hasMore);
    });

    app.post(url, { config: { ...config, audit: 'keys.create' }, schema: create }, async (request, reply) => {
      const { tenant, scopes, name = '', adapters, quota, expires_at } = request.body;
      const { key, record } = await keys.create({
        ...{ tenant, scopes, name, createdBy: request.keyPrefix },
        ...{ adapters: adapters ?? null, quota: quota ?? null, expiresAt: msOf(expires_at) ?? null },
      });
      request.changed = changeOf(null, record);
      return reply
        .status(201)
        .header('location', `${url}/${record.prefix}`)
        .send({ ...keyJson(record), key });
    });

    app.get(`${url}/:prefix`, { config, schema: one }, async ({ params: { prefix } }) => {
      return keyJson(present(await keys.find(prefix)));
    });

    app.patch(`${url}/:prefix`, { config: { ...config, audit: 'keys.change' }, schema: change }, async (request) => {
      const { prefix } = request.params;
      const before = present(await keys.find(prefix));
      const after = await keys.change(prefix, keyChangeOf(request.body));
      request.changed = changeOf(before, after);
      return keyJson(after);
    });

    const rotateConfig = { ...config, audit: 'keys.rotate' };
    app.post(`${url}/:prefix/rotate`, { config: rotateConfig, schema: rotate }, async (request, reply) => {
      const { params, body, keyPrefix } = request;
      const before = present(await keys.find(params.prefix));
      const overlapMs = (body.overlap_seconds ?? 24 * 3600) * 1000;
      const { key, record } = await keys.rotate(params.prefix, overlapMs, keyPrefix);
      request.changed = changeOf(before, record);
      return reply
        .status(201)
        .header('location', `${url}/${record.prefix}`)
        .send({ ...keyJson(record), key });
    });

    app.delete(`${url}/:prefix`, { config: { ...config, audit: 'keys.revoke' }, schema: revoke }, async (request) => {
      const { prefix } = request.params;
      const before = present(await keys.find(prefix));
      if (!(await keys.revoke(prefix))) throw new LorikeetError('key_not_found');
      const after = present(await keys.find(prefix));
      request.changed = changeOf(before, after);
      return keyJson(after);
    });
  };

const msOf = (seconds: number | undefined) => (seconds === undefined ? undefined : seconds * 1000);

function keyChangeOf({ scopes, name, adapters, quota, expires_at, unset = [] }: KeyPatch): KeyChange {
  const change = { scopes, name, adapters, quota, expiresAt: msOf(expires_at) };
  const set = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
  const taken = unset.map((field) => [field === 'expires_at' ? 'expiresAt' : field, null]);
  return { ...set, ...Object.fromEntries(taken) };
}

function present(record: KeyRecord | null): KeyRecord {
  if (record === null) throw new LorikeetError('key_not_found');
  return record;
}

const changeOf = (before: KeyRecord | null, after: KeyRecord) => ({
  tenant: after.tenant,
  target: before?.prefix ?? after.prefix,
  before: before && keyJson(before),
  after: keyJson(after),
});
