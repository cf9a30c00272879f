// Checks that content on disk still has its digest. No content is served before this process has written it itself or
// read it whole: damaged or edited files must not answer in an adapter's name.

import { LRUCache } from 'lru-cache';
import type { Serially } from '../core/serially.ts';
import { adapterDigest } from '../formats/adapter-digest.ts';
import type { BlobFolder } from '../storage/blob-folder.ts';
import type { AdapterState } from './adapter-registry.ts';
import type { Names } from './names.ts';
import type { RegistryLog } from './options.ts';

export type Contents = ReturnType<typeof contents>;

export type ContentsParts = {
  readonly names: Names;
  readonly blobs: Pick<BlobFolder, 'hash'>;
  /** Restores a missing or damaged content from elsewhere. @returns false where no copy is found */
  readonly renew: (digest: string) => Promise<boolean>;
  readonly exclusive: Serially;
  readonly log: RegistryLog;
  readonly stop: AbortSignal;
  /** Number of contents that are remembered as checked. */
  readonly trustedMax: number;
};

/** Whether a request waits for the content. */
type Asked = { readonly isAsked: boolean };

export function contents({ names, blobs, renew, exclusive, log, stop, trustedMax }: ContentsParts) {
  const trusted = new LRUCache<string, true>({ maxSize: trustedMax, sizeCalculation: () => 1 });
  const running = new Map<string, Promise<boolean>>();
  /** Contents that were reported as damaged while they were being read. */
  const doubted = new Set<string>();

  const setStates = stateSetter(names, log);
  const trust = async (digest: string): Promise<void> => {
    await setStates(digest, 'corrupt', 'ready');
    trusted.set(digest, true);
  };

  /** Contents without a request take no place of those with one. */
  const isWorthKeeping = (isAsked: boolean): boolean => isAsked || trusted.size < trustedMax;

  const isWhole = async (digest: string): Promise<boolean> => {
    const hashes = await blobs.hash(digest, stop);
    return hashes !== null && adapterDigest(hashes.config, hashes.weights) === digest;
  };

  const check = async (digest: string, asked: Asked): Promise<boolean> => {
    doubted.delete(digest);
    const isIntact = (await isWhole(digest)) || ((await renew(digest)) && (await isWhole(digest)));
    const found = await exclusive(async () => {
      // New bytes were placed while the old ones were read; the result is about the old ones.
      if (trusted.has(digest)) return true;
      // The last version and its bytes were deleted meanwhile. If the digest were trusted, an upload would not write
      // them again.
      if (!(await names.adapters.hasDigest(digest))) return false;
      // The report of damage came during the read, so the content is read again.
      if (isIntact && doubted.has(digest)) return null;
      if (isIntact && isWorthKeeping(asked.isAsked)) await trust(digest);
      else if (isIntact) await setStates(digest, 'corrupt', 'ready');
      else await setStates(digest, 'ready', 'corrupt');
      return isIntact;
    });
    return found ?? (await check(digest, asked));
  };

  return {
    isTrusted: (digest: string): boolean => trusted.get(digest) === true,
    isBeingRead: (digest: string): boolean => running.has(digest),
    /** Trusts bytes that were hashed as they were written. Call within `exclusive`. */
    trust,
    /** Marks the content as damaged. Call within `exclusive`. */
    async distrust(digest: string): Promise<void> {
      trusted.delete(digest);
      if (running.has(digest)) doubted.add(digest);
      await setStates(digest, 'ready', 'corrupt');
    },
    forget: (digest: string): void => void trusted.delete(digest),
    /** Reads the content whole, once for all callers meanwhile, and sets the state of its versions by the result. */
    verify(digest: string, asked: Asked = { isAsked: true }): Promise<boolean> {
      const already = running.get(digest);
      if (already !== undefined) return already;
      const result = check(digest, asked).finally(() => running.delete(digest));
      running.set(digest, result);
      return result;
    },
  };
}

/** Changes the state of all versions with one content. Call within `exclusive`. */
function stateSetter(names: Names, log: RegistryLog) {
  return async (digest: string, from: AdapterState, to: AdapterState): Promise<void> => {
    const changed = await names.setState(digest, from, to);
    if (changed.length === 0) return;
    const adapters = changed.slice(0, namesLogged).map(({ name, version }) => `${name}@${version}`);
    if (to === 'corrupt') log.error({ digest, adapters }, 'an adapter is damaged and is not served');
    else log.info({ digest, adapters }, 'an adapter is whole again');
  };
}

/** Names in one log line: a content may have very many versions. */
const namesLogged = 20;
