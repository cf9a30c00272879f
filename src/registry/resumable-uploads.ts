// Uploads in parts: checks who may send how much, and lets only one request at a time send a part of a file.

import { LorikeetError } from '../core/errors.ts';
import { orStorageFull } from '../storage/storage-full.ts';
import type { AdapterRegistry } from './adapter-registry.ts';
import type { Parts } from './parts.ts';

export type ResumableUploads = Pick<AdapterRegistry, 'uploadOf' | 'appendUpload'>;

const isDigest = (text: string) => /^sha256:[0-9a-f]{64}$/.test(text);
const isNatural = (value: number) => Number.isSafeInteger(value) && value >= 0;

export function resumableUploads({ uploads, options, beginUpload }: Parts): ResumableUploads {
  const { limits } = options;
  /** Total bytes of the uploads to which a request appends now. */
  const appending = new Map<string, number>();
  const keyOf = (tenant: string, digest: string) => `${digest} ${tenant}`;

  /** Throws where the tenant's uploads would be too many, or larger together than its adapters may be. */
  const assertRoom = async (tenant: string, digest: string, total: number): Promise<void> => {
    const kept = await uploads.kept(tenant);
    if (!kept.has(digest) && kept.size >= limits.uploadsKept) {
      const message = `There are ${limits.uploadsKept} uploads that no adapter has taken yet. Finish one, or wait.`;
      throw new LorikeetError('too_many_uploads', { message });
    }
    const bytes = kept.set(digest, total).entries();
    const sum = bytes.reduce((all, [one, there]) => all + (appending.get(keyOf(tenant, one)) ?? there), 0);
    options.assertQuota?.({ tenant, keyPrefix: null }, 'adapter_bytes', { tenant: sum });
  };

  return {
    async uploadOf(tenant, digest) {
      const state = isDigest(digest) ? await uploads.find(tenant, digest) : null;
      return state === null ? null : { digest, ...state };
    },
    async appendUpload(tenant, digest, part) {
      if (!isDigest(digest)) invalid('digest', "must be 'sha256:' and 64 lower-case hexadecimal digits");
      if (!isNatural(part.offset)) invalid('offset', 'must be a natural number');
      if (!isNatural(part.total) || part.total === 0) invalid('total', 'must be a positive integer');
      if (part.total > limits.adapterWeightsBytes) {
        const message = `The limit is ${limits.adapterWeightsBytes} bytes.`;
        throw new LorikeetError('body_too_large', { message, param: 'total' });
      }
      const key = keyOf(tenant, digest);
      if (appending.has(key)) {
        const message = 'Another request sends a part of this upload.';
        throw new LorikeetError('upload_offset_mismatch', { message });
      }
      const end = beginUpload(tenant);
      appending.set(key, part.total);
      try {
        await assertRoom(tenant, digest, part.total);
        return { digest, ...(await orStorageFull(() => uploads.append(tenant, digest, part))) };
      } finally {
        appending.delete(key);
        end();
      }
    },
  };
}

function invalid(param: string, must: string): never {
  throw new LorikeetError('invalid_parameter', { message: `${param} ${must}.`, param });
}
