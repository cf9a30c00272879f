// What an adapter's content is called: one digest over both files, so that another alpha is another adapter.

import { createHash } from 'node:crypto';

/** @returns `sha256:<hex>`, of the text that sha256sum would print a line of for each file, names first. */
export function adapterDigest(configSha256: string, weightsSha256: string): string {
  const text = `adapter_config.json ${configSha256}\nadapter_model.safetensors ${weightsSha256}\n`;
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}
