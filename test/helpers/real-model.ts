// The real base model for *.models.test.ts: the file that LORIKEET_TEST_GGUF names, or as the program itself finds it.

import { join } from 'node:path';
import { loadConfig } from '../../src/config.ts';
import type { ModelFiles } from '../../src/core/base-model.ts';
import { resolveModel } from '../../src/models/resolve.ts';

export function realModelFiles(): Promise<ModelFiles> {
  const { config } = loadConfig();
  return resolveModel(process.env.LORIKEET_TEST_GGUF ?? 'SmolLM2-135M-Instruct', {
    cacheDir: join(config.dataDir, 'models'),
    hub: {
      endpoint: config.hfEndpoint,
      token: config.hfToken,
      cacheDir: config.hfHubCache,
      offline: config.hfHubOffline,
    },
  });
}
