// Whether content on the disk is still what its digest says. No content is served before this process has either
// written it itself or read it whole: a disk that rots, or a hand that edits, must not answer in an adapter's name.

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
  /** Brings back what is missing or damaged. @returns false where it is nowhere else */
  readonly renew: (digest: string) => Promise<boolean>;
  readonly exclusive: Serially;
  readonly log: RegistryLog;
  readonly stop: AbortSignal;
  /** Contents that are not read again before they are served. */
  readonly trustedMax: number;
};

/** Whether somebody waits to use it. */
type Asked = { readonly isAsked: boolean };

export function contents({ names, blobs, renew, exclusive, log, stop, trustedMax }: ContentsParts) {
  const trusted = new LRUCache<string, true>({ maxSize: trustedMax, sizeCalculation: () => 1 });
  const running = new Map<string, Promise<boolean>>();
  /** Reported as damaged while they were being read. */
  const doubted = new Set<string>();

  const setStates = stateSetter(names, log);
  const trust = async (digest: string): Promise<void> => {
    await setStates(digest, 'corrupt', 'ready');
    trusted.set(digest, true);
  };

  /** What nobody asks for does not take the place of what was asked for. */
  const isWorthKeeping = (isAsked: boolean): boolean => isAsked || trusted.size < trustedMax;

  const isWhole = async (digest: string): Promise<boolean> => {
    const hashes = await blobs.hash(digest, stop);
    return hashes !== null && adapterDigest(hashes.config, hashes.weights) === digest;
  };

  const check = async (digest: string, asked: Asked): Promise<boolean> => {
    doubted.delete(digest);
    const isIntact = (await isWhole(digest)) || ((await renew(digest)) && (await isWhole(digest)));
    const found = await exclusive(async () => {
      // Bytes that were placed while the old ones were read are not those that were found wanting.
      if (trusted.has(digest)) return true;
      // The last version went meanwhile, and the bytes with it: trusted, they would not be written for the next one.
      if (!(await names.adapters.hasDigest(digest))) return false;
      // The damage may be younger than what was read.
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
    verify(digest: string, asked: Asked = { isAsked: true }): Promise<boolean> {
      const already = running.get(digest);
      if (already !== undefined) return already;
      const result = check(digest, asked).finally(() => running.delete(digest));
      running.set(digest, result);
      return result;
    },
  };
}

/** Changes the state of all versions with one content. Within `exclusive`. */
function stateSetter(names: Names, log: RegistryLog) {
  return async (digest: string, from: AdapterState, to: AdapterState): Promise<void> => {
    const changed = await names.setState(digest, from, to);
    if (changed.length === 0) return;
    const adapters = changed.slice(0, namesLogged).map(({ name, version }) => `${name}@${version}`);
    if (to === 'corrupt') log.error({ digest, adapters }, 'an adapter is damaged and is not served');
    else log.info({ digest, adapters }, 'an adapter is whole again');
  };
}

/** A content may have very many versions. */
const namesLogged = 20;
