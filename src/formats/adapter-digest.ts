// The digest of an adapter's content, over both of its files.

import { createHash } from 'node:crypto';

/**
 * Hashes this text to `sha256:<hex>`, each line ended by a newline, so that `sha256sum` and a shell can compute it too:
 *
 *     adapter_config.json <sha256 of the file, hex>
 *     adapter_model.safetensors <sha256 of the file, hex>
 */
export function adapterDigest(configSha256Hex: string, weightsSha256Hex: string): string {
  const text = `adapter_config.json ${configSha256Hex}\nadapter_model.safetensors ${weightsSha256Hex}\n`;
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}
