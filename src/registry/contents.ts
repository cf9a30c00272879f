// Whether content on the disk is still what its digest says. No content is served before this process has either
// written it itself or read it whole: a disk that rots, or a hand that edits, must not answer in an adapter's name.

import type { Serially } from '../core/serially.ts';
import { adapterDigest } from '../formats/adapter-digest.ts';
import type { AdapterTable } from '../storage/adapter-table.ts';
import type { BlobFolder } from '../storage/blob-folder.ts';
import type { AdapterState } from './adapter-registry.ts';
import { type Catalogue, setState } from './catalogue.ts';
import type { RegistryLog } from './options.ts';

export type Contents = ReturnType<typeof contents>;

export type ContentsParts = {
  readonly adapters: AdapterTable;
  readonly blobs: BlobFolder;
  readonly catalogue: Catalogue;
  readonly exclusive: Serially;
  readonly log: RegistryLog;
  readonly stop: AbortSignal;
};

export function contents({ adapters, blobs, catalogue, exclusive, log, stop }: ContentsParts) {
  const trusted = new Set<string>();
  const running = new Map<string, Promise<boolean>>();
  /** Reported as damaged while they were being read. */
  const doubted = new Set<string>();

  /** Of all versions with this content. Within `exclusive`. */
  const setStates = async (digest: string, from: AdapterState, to: AdapterState): Promise<void> => {
    const entries = [...catalogue.ofDigest(digest)].filter(({ adapter }) => adapter.state === from);
    if (entries.length === 0) return;
    await adapters.setState(digest, from, to);
    for (const entry of entries) setState(entry, to);
    const names = entries.map(({ adapter }) => `${adapter.name}@${adapter.version}`);
    if (to === 'corrupt') log.error({ digest, adapters: names }, 'an adapter is damaged and is not served');
    else log.info({ digest, adapters: names }, 'an adapter is whole again');
  };

  const trust = async (digest: string): Promise<void> => {
    await setStates(digest, 'corrupt', 'ready');
    trusted.add(digest);
  };

  const isWhole = async (digest: string): Promise<boolean> => {
    const hashes = await blobs.hash(digest, stop);
    return hashes !== null && adapterDigest(hashes.config, hashes.weights) === digest;
  };

  const check = async (digest: string): Promise<boolean> => {
    doubted.delete(digest);
    const isIntact = (await isWhole(digest)) || ((await blobs.renew(digest)) && (await isWhole(digest)));
    const found = await exclusive(async () => {
      // Bytes that were placed while the old ones were read are not those that were found wanting.
      if (trusted.has(digest)) return true;
      // The last version went meanwhile, and the bytes with it: trusted, they would not be written for the next one.
      if (catalogue.ofDigest(digest).size === 0) return false;
      // The damage may be younger than what was read.
      if (isIntact && doubted.has(digest)) return null;
      if (isIntact) await trust(digest);
      else await setStates(digest, 'ready', 'corrupt');
      return isIntact;
    });
    return found ?? (await check(digest));
  };

  return {
    isTrusted: (digest: string): boolean => trusted.has(digest),
    isBeingRead: (digest: string): boolean => running.has(digest),
    /** For bytes that were hashed on their way in. Within `exclusive`. */
    trust,
    /** Within `exclusive`. */
    async distrust(digest: string): Promise<void> {
      trusted.delete(digest);
      if (running.has(digest)) doubted.add(digest);
      await setStates(digest, 'ready', 'corrupt');
    },
    forget: (digest: string): void => void trusted.delete(digest),
    /** Reads it whole, once for all who ask meanwhile, and marks its versions by the result. */
    verify(digest: string): Promise<boolean> {
      const already = running.get(digest);
      if (already !== undefined) return already;
      const result = check(digest).finally(() => running.delete(digest));
      running.set(digest, result);
      return result;
    },
  };
}
