// Who uses which version just now: its content stays until the last of them lets it go.

import type { VersionKey } from '../storage/adapter-table.ts';
import type { AdapterLease } from './adapter-registry.ts';
import type { Known } from './named.ts';

type Hold = {
  readonly digest: string;
  leases: number;
  isDeleting: boolean;
  /** Made for those who ask for it: most let go of a version before they could be told. */
  deleting: AbortController | null;
  readonly onFree: (() => void)[];
};

export type Holds = ReturnType<typeof holds>;

export const versionId = ({ tenant, name, version }: VersionKey): string => `${name}@${version}\n${tenant}`;

export function holds() {
  /** Of the versions that somebody holds, and no others. */
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
    /** Tells its holders that it is to go. Resolves when there are none; none can come, since it is marked before. */
    drain(version: VersionKey): Promise<void> {
      const hold = held.get(versionId(version));
      if (hold === undefined) return Promise.resolve();
      hold.isDeleting = true;
      // Before they are told: one may let go at once.
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
