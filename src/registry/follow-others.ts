// Follows other servers' changes: forgets what they change, and releases what they delete.

import { everyName } from './names.ts';
import type { Parts } from './parts.ts';

export function followOthers({ changes, names, holds, contents, blobs, exclusive }: Parts): void {
  /** Forgets a content without versions, and removes it from this server's cache. */
  const letGo = (digest: string): Promise<void> =>
    exclusive(async () => {
      if (await names.adapters.hasDigest(digest)) return;
      contents.forget(digest);
      if (blobs.isShared && !holds.isUsed(digest)) await blobs.forget(digest);
    });
  changes.listen({
    apply({ kind, tenant, name, detail }) {
      if (kind !== 'adapter') return;
      if (name === everyName.name) names.forgetAll();
      else names.forget(tenant, name);
      // Not awaited: its turn among this server's changes may take a while, and the feed goes on.
      if (detail?.gone !== undefined) void letGo(detail.gone).catch(() => {});
    },
    forgetAll: names.forgetAll,
    async drained({ kind, tenant, name, detail }) {
      if (kind !== 'adapter') return;
      await Promise.all((detail?.deleting ?? []).map((version) => holds.drain({ tenant, name, version })));
    },
  });
}
