// Opens the registry of adapters and loads the adapters that are configured for the start.

import { randomInt, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from '../config.ts';
import type { ModelFiles } from '../core/base-model.ts';
import { systemClock, systemTimers } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { prng } from '../core/prng.ts';
import type { SupervisedEngine } from '../protocol/supervisor.ts';
import type { AdapterRegistry } from '../registry/adapter-registry.ts';
import { checkAdapter } from '../registry/check-adapter.ts';
import { loadExamples } from '../registry/example-adapters.ts';
import { publishFolder } from '../registry/publish-folder.ts';
import { openAdapterRegistry } from '../registry/registry.ts';
import type { Logger } from '../server/http/logger.ts';
import type { Database } from '../storage/database.ts';
import { nodeFiles } from '../storage/files.ts';
import type { ObjectStore } from '../storage/object-store.ts';
import type { Changes } from '../storage/replicas/changes.ts';
import { defaultTenant } from '../tenants/scopes.ts';
import type { Service } from '../tenants/service.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import { shapeOf } from './engine.ts';
import { openTemplates, type Templates } from './templates.ts';

/** The examples of the project, and the base model that they were trained on. */
const exampleFolder = fileURLToPath(new URL('../../adapters', import.meta.url));
const exampleBase = 'SmolLM2-135M-Instruct';

export type AdapterParts = RegistryParts & { readonly tokenizer: Tokenizer };

/** Opens the registry and the process that renders adapters' own chat templates (null where that is switched off). */
export async function openAdapters(
  config: Config,
  { tokenizer, ...parts }: AdapterParts,
  open: AsyncDisposableStack,
): Promise<{ registry: AdapterRegistry; templates: Templates | null }> {
  const templates = await openTemplates(config, tokenizer, open);
  const registry = await openRegistry(config, parts, templates);
  open.defer(() => registry.close());
  return { registry, templates };
}

export type RegistryParts = {
  readonly database: Database;
  /** Object store of adapters' contents; null: they are in the data dir. */
  readonly store: ObjectStore | null;
  /** Feed of changes from and to the other servers on the same database. */
  readonly changes: Changes;
  readonly files: ModelFiles;
  readonly engine: SupervisedEngine;
  readonly service: Service;
  readonly logger: Logger;
};

function openRegistry(
  config: Config,
  { database, store, changes, files, engine, service, logger }: RegistryParts,
  templates: Templates | null,
): Promise<AdapterRegistry> {
  return openAdapterRegistry({
    database,
    changes,
    folder: join(config.dataDir, 'adapters'),
    base: {
      ...{ name: files.name, digest: files.digest, shape: () => shapeOf(engine) },
      rankMax: () => engine.info?.adapterRank ?? limits.adapterRank,
    },
    check: checkAdapter,
    ...(templates === null ? {} : { templates: templates.ofUploads }),
    clock: systemClock,
    timers: systemTimers,
    random: prng(randomInt(2 ** 48 - 1)),
    newId: randomUUID,
    log: logger,
    limits,
    assertQuota: service.assertQuota,
    hasQuota: service.hasQuota,
    files: nodeFiles,
    ...(store === null ? {} : { shared: { store, cacheBytes: config.blobCache } }),
  });
}

/**
 * Loads the example adapters.
 * @returns the names of those that were loaded now
 */
export async function addExamples(
  config: Config,
  registry: AdapterRegistry,
  logger: Logger,
): Promise<readonly string[]> {
  if (config.model !== exampleBase) return [];
  const marker = join(config.dataDir, 'examples');
  const examples = { folder: exampleFolder, marker, tenant: defaultTenant };
  return await loadExamples(registry, examples).catch((error) => {
    logger.warn({ err: error }, 'the example adapters could not be loaded');
    return [];
  });
}

/**
 * Loads vLLM's `--lora-modules`, a list of `name=folder`: each becomes a version, unless its content is there.
 * @returns the names
 */
export async function loadModules(registry: AdapterRegistry, list: string | null): Promise<string[]> {
  const entries = (list ?? '').split(',').filter(Boolean);
  const names: string[] = [];
  for (const entry of entries) {
    const [, name, folder] = /^\s*([^=]+)=(.+?)\s*$/.exec(entry) ?? [];
    if (name === undefined || folder === undefined) {
      const message = `LORIKEET_LORA_MODULES is a list of name=folder, not ${JSON.stringify(entry)}.`;
      throw new LorikeetError('invalid_config', { message, param: 'LORIKEET_LORA_MODULES' });
    }
    const provenance = { tenant: defaultTenant, createdBy: null, source: 'load' } as const;
    await publishFolder(registry, folder, name, provenance);
    names.push(name);
  }
  return names;
}
