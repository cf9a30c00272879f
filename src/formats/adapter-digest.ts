// What an adapter's content is called: one digest over both files.

import { createHash } from 'node:crypto';

/**
 * `sha256:<hex>` of the text
 *
 *     adapter_config.json <sha256 of the file, hex>
 *     adapter_model.safetensors <sha256 of the file, hex>
 *
 * each line ended by a newline, so that `sha256sum` and a shell can say it too.
 */
export function adapterDigest(configSha256Hex: string, weightsSha256Hex: string): string {
  const text = `adapter_config.json ${configSha256Hex}\nadapter_model.safetensors ${weightsSha256Hex}\n`;
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}
