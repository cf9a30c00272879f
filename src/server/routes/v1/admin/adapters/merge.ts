// /v1/admin/adapters/{id}/merge: merges an adapter, or several into one, and unmerges. A name or an alias means the
// version that it points to now; where the alias moves later, the merge stays with that version.

import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { mergeKey } from '../../../../../core/adapter.ts';
import { LorikeetError } from '../../../../../core/errors.ts';
import type { Merge } from '../../../../../jobs/merges/merge.ts';
import type { MergeOrder } from '../../../../../jobs/merges/merges.ts';
import type { AdapterVersion } from '../../../../../registry/adapter-registry.ts';
import { assertAllowed } from '../../../../adapters/allowed-adapters.ts';
import { blame } from '../../../../adapters/held-adapters.ts';
import { onClose } from '../../../../http/on-close.ts';
import { mergeId, mergeJson } from '../../../../merges/merge-json.ts';
import { optionalBody } from '../../../../schemas/describe.ts';
import { errorAnswers } from '../../../../schemas/error.ts';
import { MergeBody, MergeParams, Merge as MergeSchema, UnmergeQuery } from '../../../../schemas/merges.ts';
import type { Services } from '../../../../services.ts';

const tags = ['merges'];
const config = { scope: 'admin' } as const;
const url = '/v1/admin/adapters/:id/merge';
const params = MergeParams;
const merge = {
  tags,
  summary: 'Merge an adapter into a copy of the linears that it touches',
  description:
    'Requests for these weights then run at the speed of the base. 200 when it is merged, 202 while it goes on; the ' +
    'same again is the same merge, and one that failed is tried again. Takes `name`, `name@version` and `name:alias`.',
  params,
  body: MergeBody,
  response: { 200: MergeSchema, 202: MergeSchema, ...errorAnswers },
};
const unmerge = {
  tags,
  summary: 'Take a merge back',
  description: '200 when its memory is free; 202 while sequences still run on it. It takes no new ones in either case.',
  params,
  querystring: UnmergeQuery,
  response: { 200: MergeSchema, 202: MergeSchema, ...errorAnswers },
};

export const mergeRoute =
  (services: Services): FastifyPluginAsyncTypebox =>
  async (app) => {
    const { merges, limits } = services;
    // A POST without a body means a merge with the defaults.
    const preValidation = async (request: { body: unknown }) => {
      if (request.body === undefined) request.body = {};
    };

    app.post(
      url,
      {
        config: { ...config, audit: 'merges.create', isIdempotent: true, describe: optionalBody },
        schema: merge,
        preValidation,
      },
      async (request, reply) => {
        const { tenant, keyPrefix, params, body } = request;
        const adapters = await versionsOf(services, request, params.id, body);
        const order = { tenant, adapters, bits: body.bits ?? null, createdBy: keyPrefix, automatic: false };
        const made = await wantMerge(services, order, body.adapters === undefined ? 'id' : 'adapters');
        const now = () => merges.find(tenant, made.key);
        if (body.wait) await waitFor(services, reply, limits.mergeWaitMs, () => now()?.state !== 'merging');
        const current = body.wait ? now() : made;
        if (current === null) throw new LorikeetError('merge_not_found', { message: 'It was unmerged meanwhile.' });
        if (current.failure !== null)
          throw new LorikeetError(current.failure.code, { message: current.failure.message });
        return reply.status(current.state === 'merged' ? 200 : 202).send(mergeJson(services, current));
      },
    );

    app.delete(url, { config: { ...config, audit: 'merges.delete' }, schema: unmerge }, async (request, reply) => {
      const { tenant, params, query } = request;
      const found = await findMerge(services, tenant, params.id, query.merge);
      request.changed = { before: mergeJson(services, found) };
      const left = await merges.unmerge(tenant, found.key, 'admin');
      const isGone = () => merges.find(tenant, found.key)?.state !== 'draining';
      await waitFor(services, reply, limits.deletionWaitMs, isGone);
      const state = isGone() ? 'unmerged' : 'draining';
      return reply.status(isGone() ? 200 : 202).send(mergeJson(services, { ...left, state }));
    });
  };

/**
 * Waits until `isOver`, for `ms` at most, or until the caller has left. The route answers in each case: the audit log
 * and Idempotency-Key read its answer.
 */
async function waitFor({ merges }: Services, { raw }: FastifyReply, ms: number, isOver: () => boolean): Promise<void> {
  const left = new AbortController();
  onClose(raw, () => left.abort());
  await merges.wait(isOver, ms, left.signal);
}

async function versionsOf(
  { registry }: Services,
  { tenant, allowedAdapters }: Pick<FastifyRequest, 'tenant' | 'allowedAdapters'>,
  id: string,
  { adapters }: MergeBody,
): Promise<MergeOrder['adapters']> {
  const find = async (reference: string, param: string): Promise<AdapterVersion> => {
    try {
      assertAllowed(allowedAdapters, reference);
      return await registry.find(tenant, reference);
    } catch (error) {
      throw blame(error, { reference, param });
    }
  };
  const adapter = await find(id, 'id');
  if (adapters === undefined) return [{ adapter, scale: 1 }];
  const named: { adapter: AdapterVersion; scale: number }[] = [];
  for (const [i, { id: reference, weight: scale = 1 }] of adapters.entries()) {
    named.push({ adapter: await find(reference, `adapters[${i}].id`), scale });
  }
  if (named.some((one) => one.adapter.digest === adapter.digest)) return named;
  const message = `adapters lists all that are merged, and '${id}' is not among them.`;
  throw new LorikeetError('invalid_parameter', { message, param: 'adapters' });
}

/**
 * Asks for a merge.
 * @param param the parameter that an adapter's error names
 */
async function wantMerge({ merges }: Services, order: MergeOrder, param: string): Promise<Merge> {
  return await merges.want(order).catch((error) => {
    const isAdapters = error instanceof LorikeetError && error.code.startsWith('adapter_');
    throw isAdapters ? new LorikeetError(error.code, { message: error.message, param, cause: error }) : error;
  });
}

async function findMerge(services: Services, tenant: string, id: string, merge?: string): Promise<Merge> {
  const all = services.merges.list(tenant);
  // A merge that is named by its own id is found even where its adapter is deleted.
  const named = all.find(({ key }) => mergeId(key) === merge);
  if (named !== undefined) return named;
  const { digest, name, version } = await services.registry.find(tenant, id).catch((error) => {
    throw blame(error, { reference: id, param: 'id' });
  });
  const key = mergeKey([{ files: { digest }, scale: 1 }]);
  const alone = all.find((one) => one.key === key);
  if (alone !== undefined && merge === undefined) return alone;
  const parts = all.filter(({ adapters }) => adapters.some((one) => one.digest === digest));
  const others = parts.map((one) => mergeId(one.key)).join(', ');
  const hint = others === '' ? '' : ` There is ${others}: name one with ?merge=.`;
  const message = `'${name}@${version}' has no such merge.${hint}`;
  throw new LorikeetError('merge_not_found', { message, param: merge === undefined ? 'id' : 'merge' });
}
