// The real base model for *.models.test.ts: the file that LORIKEET_TEST_GGUF names, or the one that the program finds.

import { loadConfig } from '../../src/config.ts';
import type { ModelFiles } from '../../src/core/base-model.ts';
import { modelSources } from '../../src/main/model.ts';
import { resolveModel } from '../../src/models/resolve.ts';

export function realModelFiles(): Promise<ModelFiles> {
  const { config } = loadConfig();
  return resolveModel(process.env.LORIKEET_TEST_GGUF ?? 'SmolLM2-135M-Instruct', modelSources(config));
}
