// Downloads an adapter from the Hugging Face hub into the cache that other programs share.

import { join } from 'node:path';
import { systemClock } from '../../core/clock.ts';
import { fetchHubFolder } from '../../models/hub.ts';
import { parseModelSpec } from '../../models/model-spec.ts';
import { isCompanion, isPickleName, isWeightsName } from '../../registry/companions.ts';
import { configFile, weightsFile } from '../../server/adapters/adapter-files.ts';
import { type Invocation, UsageError } from '../command.ts';
import { progressBar } from '../progress-bar.ts';

/**
 * Downloads what `spec` names.
 * @returns the folder, or the file that the spec names. Throws `model_unavailable`.
 */
export async function fetchFromHub({ loadConfig, io }: Invocation, spec: string): Promise<string> {
  const parsed = parseModelSpec(spec);
  if (parsed.kind !== 'hub') throw new UsageError(`${spec} is not of the form hf:org/repo[@revision][:file.gguf].`);
  const { hfEndpoint: endpoint, hfToken: token, hfHubCache: cacheDir, hfHubOffline: offline } = loadConfig().config;
  const bar = progressBar(io.stderr, systemClock);
  const report = { onProgress: bar.show, log: (line: string) => void io.stderr.write(`${line}\n`) };
  const access = { options: { endpoint, token, cacheDir, offline }, fetch, report };
  const { file } = parsed;
  const wants = (name: string) =>
    file === null
      ? [configFile, weightsFile].includes(name) || isCompanion(name) || isWeightsName(name) || isPickleName(name)
      : name === file;
  try {
    const folder = await fetchHubFolder(parsed, wants, access);
    return file === null ? folder : join(folder, file);
  } finally {
    bar.clear();
  }
}
