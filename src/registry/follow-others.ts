// What other servers change, this one's memory forgets; what they delete, it lets go of.

import { everyName } from './names.ts';
import type { Parts } from './parts.ts';

export function followOthers({ changes, names, holds, contents, blobs, exclusive }: Parts): void {
  /** A content that is nobody's any more: not trusted, and not kept here. */
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
      // Beside the feed: its turn among changes may take a while.
      if (detail?.gone !== undefined) void letGo(detail.gone).catch(() => {});
    },
    forgetAll: names.forgetAll,
    async drained({ kind, tenant, name, detail }) {
      if (kind !== 'adapter') return;
      await Promise.all((detail?.deleting ?? []).map((version) => holds.drain({ tenant, name, version })));
    },
  });
}
