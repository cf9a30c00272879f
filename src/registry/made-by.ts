// Tells whose a version is.

import type { AdapterVersion } from './adapter-registry.ts';

type Maker = Pick<AdapterVersion, 'source' | 'createdBy'>;

/** Makes a test of whether a version comes from the same key by the same way. */
export const isMadeBy =
  (maker: Maker) =>
  ({ source, createdBy }: Maker): boolean =>
    source === maker.source && createdBy === maker.createdBy;
