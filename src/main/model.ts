// Finds the base model's files on this machine or fetches them.

import { join } from 'node:path';
import { type Config, environmentForPip } from '../config.ts';
import type { ModelFiles } from '../core/base-model.ts';
import { type ResolveOptions, resolveModel } from '../models/resolve.ts';
import { makeDataDir } from '../storage/data-dir.ts';
import type { StartReport } from './start-report.ts';

/** Finds the base model's files, and fetches them where this machine does not have them. */
export async function findModel(config: Config, report: StartReport): Promise<ModelFiles> {
  makeDataDir(config.dataDir);
  const files = await resolveModel(config.model, {
    ...modelSources(config),
    onProgress: (progress) => report.progress(progress),
    log: (line) => report.line(line),
  });
  return { ...files, name: config.servedModelName ?? files.name };
}

/** Places where base models are looked for and kept. */
export function modelSources(config: Config): Pick<ResolveOptions, 'cacheDir' | 'hub' | 'python'> {
  return {
    cacheDir: join(config.dataDir, 'models'),
    hub: {
      endpoint: config.hfEndpoint,
      token: config.hfToken,
      cacheDir: config.hfHubCache,
      offline: config.hfHubOffline,
    },
    python: { program: config.python, env: environmentForPip() },
  };
}
