// Resolves the user's name for a base model to files on this machine. Sources are tried in order: a local path, the
// caches, the hub, a Python package. The log says why a source failed before the next is tried.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { ModelFiles } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';
import { findDescriptor, modelDescriptors } from './descriptor.ts';
import { digestCache, modelDigest } from './file-digest.ts';
import { cachedHubModel, type Fetched, fetchHubModel } from './hub.ts';
import type { HubAccess, HubModel, HubOptions } from './hub-api.ts';
import { localModel } from './local-model.ts';
import { parseModelSpec } from './model-spec.ts';
import { findNamedModel, type NamedModelContext } from './named-model.ts';
import type { Python } from './pip.ts';
import type { ModelProgress } from './progress.ts';
import { describe, unavailable } from './unavailable.ts';

export type ResolveOptions = {
  /** This program's own cache: files from packages, and digests. */
  readonly cacheDir: string;
  readonly hub: HubOptions;
  /** Python whose pip fetches packages; python3 by default. */
  readonly python?: Python;
  /** Folder of descriptors; the program's own by default. */
  readonly descriptors?: string;
  readonly onProgress?: (progress: ModelProgress) => void;
  /** Receives single lines for the operator. */
  readonly log?: (line: string) => void;
  readonly fetch?: typeof fetch;
};

/**
 * Resolves the name. Throws `model_unavailable` where no source has the model, `invalid_config` where `spec` is
 * malformed.
 */
export async function resolveModel(spec: string, options: ResolveOptions): Promise<ModelFiles> {
  const report = { onProgress: options.onProgress ?? (() => {}), log: options.log ?? (() => {}) };
  const context: NamedModelContext = {
    cacheDir: options.cacheDir,
    python: options.python ?? { program: null },
    access: { options: options.hub, fetch: options.fetch ?? fetch, report },
    digests: digestCache(join(options.cacheDir, 'digests'), report),
  };
  try {
    const { files, source } = await find(spec, options.descriptors, context);
    return { ...files, source, digest: await modelDigest(files, context.digests) };
  } catch (error) {
    if (error instanceof LorikeetError) throw error;
    return unavailable(`the model ${spec} could not be fetched (${describe(error)})`, error);
  }
}

function find(spec: string, descriptors: string | undefined, context: NamedModelContext): Promise<Fetched> | Fetched {
  const parsed = parseModelSpec(spec);
  if (parsed.kind === 'path') return { files: localModel(parsed.path), source: 'path' };
  if (parsed.kind === 'hub') return findOnHub(parsed, context.access);
  if (existsSync(join(parsed.name, 'config.json'))) return { files: localModel(parsed.name), source: 'path' };
  const descriptor = findDescriptor(parsed.name, descriptors);
  if (descriptor !== null) return findNamedModel(descriptor, context);
  if (existsSync(spec)) unavailable(`${spec} is no model: a GGUF file ends with .gguf, a folder has a config.json`);
  const known = modelDescriptors(descriptors).map(({ name }) => name);
  return unavailable(`no model is called ${JSON.stringify(spec)}; known are ${known}, hf:org/repo and paths`);
}

/**
 * Asks the hub for a branch first, as the branch may have moved; the cached commit serves where the hub cannot be
 * reached.
 */
async function findOnHub(model: HubModel, access: HubAccess): Promise<Fetched> {
  if (access.options.offline) {
    const cached = await cachedHubModel(model, access.options);
    return cached ?? unavailable(`${model.repo}@${model.revision} is not in the cache, and the hub is switched off`);
  }
  try {
    return await fetchHubModel(model, access);
  } catch (error) {
    const cached = await cachedHubModel(model, access.options);
    if (cached === null) throw error;
    access.report.log(`using ${model.repo} from the cache: ${describe(error)}`);
    return cached;
  }
}
