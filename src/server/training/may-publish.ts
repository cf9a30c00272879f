// Limits a key that may only train: it may not move an alias, or add a version to another key's name.

import type { FastifyRequest } from 'fastify';
import { LorikeetError } from '../../core/errors.ts';
import { isMadeBy } from '../../registry/made-by.ts';
import { assertAllowed } from '../adapters/allowed-adapters.ts';
import type { JobBody } from '../schemas/fine-tuning.ts';
import type { Services } from '../services.ts';

/** Throws `insufficient_permissions`, or `adapter_not_found` for adapters that the key may not use. */
export async function assertMayPublish(
  { registry, model }: Services,
  { tenant, keyPrefix, allowedAdapters, can }: Pick<FastifyRequest, 'tenant' | 'keyPrefix' | 'allowedAdapters' | 'can'>,
  body: Pick<JobBody, 'alias' | 'suffix' | 'model'>,
): Promise<void> {
  const { alias, suffix } = body;
  if (body.model !== undefined && body.model !== model.name) assertAllowed(allowedAdapters, body.model);
  if (suffix !== undefined) assertAllowed(allowedAdapters, suffix);
  if (can('adapters')) return;
  if (alias !== undefined) throw needsAdapters('alias', "moves an alias, which needs the scope 'adapters'");
  if (suffix === undefined) return;
  const versions = await registry.versions(tenant, suffix).catch(() => []);
  const isOwn = versions.every(isMadeBy({ source: 'training', createdBy: keyPrefix }));
  if (!isOwn) throw needsAdapters('suffix', `adds a version to '${suffix}', which needs the scope 'adapters'`);
}

const needsAdapters = (param: string, what: string) =>
  new LorikeetError('insufficient_permissions', { message: `${param} ${what}.`, param });
