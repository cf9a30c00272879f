// How the memory of a device is shared out. Weights, keys and values are what they are; pages of adapters take what is
// left beside the room for merges and a trainer, since an adapter in a page need not be sent again. Pure.

/** Left for what runs need meanwhile, and for other programs on the card. */
const sparedShare = 0.15;

export type DeviceNeeds = {
  readonly freeBytes: number;
  readonly weightBytes: number;
  /** Of all rows. */
  readonly kvBytes: number;
  /** For merged weights and a trainer: they come second to the fewest pages. */
  readonly reservedBytes: number;
  /** Of one page in every linear. */
  readonly pageBytes: number;
  readonly pagesMin: number;
  readonly pagesMax: number;
};

/** Pages that fit; null where not even `pagesMin` do. */
export function devicePages(needs: DeviceNeeds): number | null {
  const { freeBytes, weightBytes, kvBytes, reservedBytes, pageBytes, pagesMin, pagesMax } = needs;
  const left = freeBytes * (1 - sparedShare) - weightBytes - kvBytes;
  if (left < pagesMin * pageBytes) return null;
  return Math.min(Math.max(pagesMin, Math.floor((left - reservedBytes) / pageBytes)), pagesMax);
}
