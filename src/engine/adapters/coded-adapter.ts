// Converts an adapter in memory from 16 bits to 8 (coded-ranks.ts).

import type { ModelShape } from '../../core/base-model.ts';
import { pageRanks, rankElements } from '../../core/page-sizes.ts';
import { bitsOf } from '../../formats/half.ts';
import type { JoinedLinear } from '../../graph/adapted-linear.ts';
import type { Breath } from './breath.ts';
import { encodeRank } from './coded-ranks.ts';
import {
  createPart,
  createResident,
  type JoinedSizes,
  joinedSizes,
  type ResidentAdapter,
  type ResidentLinear,
  type ResidentPart,
} from './resident-adapter.ts';

export async function codedAdapter(
  whole: ResidentAdapter,
  shape: ModelShape,
  breath: Breath,
): Promise<ResidentAdapter> {
  const linears = new Map<JoinedLinear, ResidentLinear>();
  for (const sizes of joinedSizes(shape)) {
    const linear = whole.linears.get(sizes.linear);
    if (!linear) continue;
    const parts: ResidentPart[] = [];
    for (const [i, part] of linear.parts.entries()) parts.push(await codedPart(sizes, i, part, breath));
    linears.set(sizes.linear, { ...linear, parts });
  }
  return createResident(whole.key, linears, whole);
}

export async function codedPart(
  sizes: JoinedSizes,
  part: number,
  whole: ResidentPart,
  breath: Breath,
): Promise<ResidentPart> {
  const coded = createPart(sizes, part, whole.ranks, 8);
  for (const [matrix, width] of [
    ['a', sizes.in],
    ['b', sizes.outs[part]!],
  ] as const) {
    const [from, to] = [bitsOf(whole[matrix]), bitsOf(coded[matrix])];
    const stride = rankElements(width, 8);
    for (let rank = 0; rank < sizes.layers * whole.ranks; rank++) {
      encodeRank(from.subarray(rank * width, (rank + 1) * width), to.subarray(rank * stride, (rank + 1) * stride));
      if (rank % pageRanks === pageRanks - 1) await breath.take();
    }
  }
  return coded;
}
