// Leases of versions: a version's content stays until the last lease is released.

import type { VersionKey } from '../storage/adapter-table.ts';
import type { AdapterLease } from './adapter-registry.ts';
import type { Known } from './named.ts';

type Hold = {
  readonly digest: string;
  leases: number;
  isDeleting: boolean;
  /** Made when a holder first asks for it: most release a version without asking. */
  deleting: AbortController | null;
  readonly onFree: (() => void)[];
};

export type Holds = ReturnType<typeof holds>;

export const versionId = ({ tenant, name, version }: VersionKey): string => `${name}@${version}\n${tenant}`;

export function holds() {
  /** The versions with leases, and no others. */
  const held = new Map<string, Hold>();
  return {
    take({ adapter, files }: Known): AdapterLease {
      const id = versionId(adapter);
      const hold = held.get(id) ?? newHold(adapter.digest);
      if (hold.leases === 0) held.set(id, hold);
      hold.leases++;
      let isHeld = true;
      return {
        adapter,
        files,
        get deleting() {
          return signalOf(hold);
        },
        release() {
          if (!isHeld) return;
          isHeld = false;
          hold.leases--;
          if (hold.leases > 0) return;
          held.delete(id);
          for (const tell of hold.onFree) tell();
        },
      };
    },
    isUsed: (digest: string): boolean => held.values().some((hold) => hold.digest === digest),
    /**
     * Tells the holders that the version is being deleted. Resolves without leases. No new lease can come: its state
     * has changed before.
     */
    drain(version: VersionKey): Promise<void> {
      const hold = held.get(versionId(version));
      if (hold === undefined) return Promise.resolve();
      hold.isDeleting = true;
      // Set before the holders are told: one may release at once.
      const free = new Promise<void>((resolve) => hold.onFree.push(resolve));
      hold.deleting?.abort();
      return free;
    },
  };
}

const newHold = (digest: string): Hold => ({ digest, leases: 0, isDeleting: false, deleting: null, onFree: [] });

function signalOf(hold: Hold): AbortSignal {
  hold.deleting ??= new AbortController();
  if (hold.isDeleting) hold.deleting.abort();
  return hold.deleting.signal;
}
