// The digest of an adapter's content, over both of its files, and the error where the files have another one.

import { createHash } from 'node:crypto';
import { LorikeetError } from '../core/errors.ts';

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

/**
 * The error for an adapter whose files are not what its digest says. `param` is the digest, which names the adapter at
 * fault where there are several.
 * @param reason completes the sentence "The adapter ... is damaged: ..."
 */
export const damagedAdapter = (digest: string, reason: string, cause?: unknown): LorikeetError =>
  new LorikeetError('adapter_corrupt', {
    message: `The adapter ${digest} is damaged: ${reason}.`,
    param: digest,
    cause,
  });

/** Throws `adapter_corrupt` where the hashes of an adapter's files do not make its digest. */
export function proveDigest(digest: string, configSha256Hex: string, weightsSha256Hex: string): void {
  if (adapterDigest(configSha256Hex, weightsSha256Hex) !== digest) {
    throw damagedAdapter(digest, 'its bytes have another digest');
  }
}
