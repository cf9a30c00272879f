// Gives adapters and aliases of the registry the shapes of HTTP. Times become seconds, as in OpenAI's objects.

import { mergeKey } from '../../core/adapter.ts';
import type { AdapterAlias, AdapterVersion } from '../../registry/adapter-registry.ts';
import { epochSeconds } from '../http/epoch-seconds.ts';
import type { Adapter } from '../schemas/adapters.ts';
import type { Alias } from '../schemas/aliases.ts';
import type { Services } from '../services.ts';

export const idOf = ({ name, version }: Pick<AdapterVersion, 'name' | 'version'>) => `${name}@${version}`;

/** Gives versions of one tenant as JSON; the aliases of all of them are read at once. */
export async function adaptersJson(
  services: Services,
  tenant: string,
  adapters: readonly AdapterVersion[],
): Promise<Adapter[]> {
  const names = [...new Set(adapters.map(({ name }) => name))];
  // A name that is deleted meanwhile has no aliases.
  const named = await services.registry.named(tenant, names);
  return adapters.map((adapter) => adapterJson(services, adapter, named.get(adapter.name)?.aliases ?? []));
}

/** Where the weights are. `merged` means a merge of this adapter alone, at scale 1, that its own tenant asked for. */
function residencyOf({ engine, merges }: Services, { tenant, digest }: AdapterVersion): Adapter['residency'] {
  const merge = merges.find(tenant, mergeKey([{ files: { digest }, scale: 1 }]));
  return merge?.state === 'merged' ? 'merged' : engine.tierOf(digest);
}

function adapterJson(services: Services, adapter: AdapterVersion, aliases: readonly AdapterAlias[]): Adapter {
  const { name, version } = adapter;
  return {
    id: idOf(adapter),
    object: 'adapter',
    name,
    version,
    digest: adapter.digest,
    base_digest: adapter.baseDigest,
    r: adapter.r,
    target_modules: [...adapter.targetModules],
    virtual_tokens: adapter.virtualTokens ?? 0,
    parameters: adapter.parameters,
    bytes: adapter.bytes,
    created_at: epochSeconds(adapter.createdAt),
    created_by: adapter.createdBy,
    source: adapter.source,
    state: adapter.state,
    residency: residencyOf(services, adapter),
    chat_template: adapter.templateDigest,
    warnings: [...adapter.warnings],
    aliases: aliases
      .filter(({ targets }) => targets.some((target) => target.version === version))
      .map(({ alias }) => alias),
  };
}

export function aliasJson({ name, alias, targets, revision, updatedAt }: AdapterAlias): Alias {
  return {
    id: `${name}:${alias}`,
    object: 'adapter.alias',
    name,
    alias,
    targets: [...targets],
    revision,
    updated_at: epochSeconds(updatedAt),
  };
}

/** A page of OpenAI's list. */
export const listJson = <T extends { readonly id: string }>(data: T[], hasMore = false) => ({
  object: 'list' as const,
  data,
  has_more: hasMore,
  first_id: data[0]?.id ?? null,
  last_id: data.at(-1)?.id ?? null,
});

export const addressOf = ({ name, version }: AdapterVersion) =>
  `/v1/adapters/${encodeURIComponent(name)}/versions/${version}`;
