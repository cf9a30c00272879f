// Bounds the sum of the JSON bodies that are arriving, since each is in memory until it is whole. No tenant may have
// more than half of the bound.

import { LorikeetError } from '../../core/errors.ts';

export type BodyBytes = {
  /**
   * Reserves room for one body. Throws `server_overloaded`.
   * @returns a function that gives the room back
   */
  take(tenant: string, bytes: number): () => void;
  readonly inAll: number;
};

export function bodyBytes({ bodyBytesInAll }: { readonly bodyBytesInAll: number }): BodyBytes {
  const byTenant = new Map<string, number>();
  let inAll = 0;
  const add = (tenant: string, bytes: number) => {
    const own = (byTenant.get(tenant) ?? 0) + bytes;
    if (own === 0) byTenant.delete(tenant);
    else byTenant.set(tenant, own);
    inAll += bytes;
  };
  return {
    take(tenant, bytes) {
      const own = byTenant.get(tenant) ?? 0;
      if (inAll + bytes > bodyBytesInAll || own + bytes > bodyBytesInAll / 2) {
        const message = 'Too many large requests are arriving at once. Try again later.';
        throw new LorikeetError('server_overloaded', { message });
      }
      add(tenant, bytes);
      let isTaken = true;
      return () => {
        if (isTaken) add(tenant, -bytes);
        isTaken = false;
      };
    },
    get inAll() {
      return inAll;
    },
  };
}
