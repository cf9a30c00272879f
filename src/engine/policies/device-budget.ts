// How the memory of a device is shared out. Weights, keys and values are what they are; pages of adapters take what is
// left, since an adapter in a page need not be sent again. Pure.

/** Left for what runs need meanwhile, and for other programs on the card. */
const sparedShare = 0.15;

export type DeviceNeeds = {
  readonly freeBytes: number;
  readonly weightBytes: number;
  /** Of all rows. */
  readonly kvBytes: number;
  /** Of one page in every linear. */
  readonly pageBytes: number;
  readonly pagesMin: number;
  readonly pagesMax: number;
};

/** Pages that fit; null where not even `pagesMin` do. */
export function devicePages(needs: DeviceNeeds): number | null {
  const { freeBytes, weightBytes, kvBytes, pageBytes, pagesMin, pagesMax } = needs;
  const left = freeBytes * (1 - sparedShare) - weightBytes - kvBytes;
  const pages = Math.floor(left / pageBytes);
  return pages < pagesMin ? null : Math.min(pages, pagesMax);
}
