// Shares out a device's memory. Weights and the KV cache have fixed sizes. Adapter pages take what is left beside the
// room reserved for merges and a trainer, since an adapter in a page need not be sent again. Pure.

/** Share of the free memory left for what runs need meanwhile, and for other programs on the card. */
const sparedShare = 0.15;

export type DeviceNeeds = {
  readonly freeBytes: number;
  readonly weightBytes: number;
  /** Bytes of the KV cache, all rows together. */
  readonly kvBytes: number;
  /** Bytes for merged weights and a trainer; given up where `pagesMin` pages would not fit beside them. */
  readonly reservedBytes: number;
  /** Bytes of one page in every linear. */
  readonly pageBytes: number;
  readonly pagesMin: number;
  readonly pagesMax: number;
};

/** Number of pages that fit; null where not even `pagesMin` do. */
export function devicePages(needs: DeviceNeeds): number | null {
  const { freeBytes, weightBytes, kvBytes, reservedBytes, pageBytes, pagesMin, pagesMax } = needs;
  const left = freeBytes * (1 - sparedShare) - weightBytes - kvBytes;
  if (left < pagesMin * pageBytes) return null;
  return Math.min(Math.max(pagesMin, Math.floor((left - reservedBytes) / pageBytes)), pagesMax);
}
