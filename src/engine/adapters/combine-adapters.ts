// Combines several adapters of one request into one: a sum of low-rank products is one product with the ranks side by
// side, so the rest of the engine knows one adapter for each sequence.
//
//     sum_i scale_i * B_i A_i = [B_1, B_2, ...] diag(scale_1, scale_2, ...) [A_1; A_2; ...]
//
// The scales go into the pages' shares.

import type { ModelShape } from '../../core/base-model.ts';
import { LorikeetError } from '../../core/errors.ts';
import { pageRanks, rankElements } from '../../core/page-sizes.ts';
import type { JoinedLinear } from '../../graph/adapted-linear.ts';
import type { Breath } from './breath.ts';
import {
  createLinear,
  createPart,
  createResident,
  type JoinedSizes,
  joinedSizes,
  type ResidentAdapter,
  type ResidentLinear,
  type ResidentPart,
} from './resident-adapter.ts';

export type Scaled = { readonly adapter: ResidentAdapter; readonly scale: number };

/** Throws `adapter_unsupported` for DoRA, whose gains do not form a sum. */
export async function combineAdapters(
  key: string,
  scaled: readonly Scaled[],
  shape: ModelShape,
  breath: Breath,
): Promise<ResidentAdapter> {
  const linears = new Map<JoinedLinear, ResidentLinear>();
  for (const sizes of joinedSizes(shape)) {
    const touching = scaled.flatMap(({ adapter, scale }) => {
      const linear = adapter.linears.get(sizes.linear);
      return linear ? [{ linear, scale }] : [];
    });
    if (touching.length === 0) continue;
    if (touching.some(({ linear }) => linear.gains !== null)) {
      const message = 'An adapter with DoRA cannot be combined with others: what it does is no sum.';
      throw new LorikeetError('adapter_unsupported', { message, param: 'adapters' });
    }
    const parts: ResidentPart[] = [];
    for (let part = 0; part < sizes.outs.length; part++) {
      const sources = touching.map(({ linear }) => ({ part: linear.parts[part]!, pages: linear.pages }));
      parts.push(joinParts(sizes, part, sources));
      await breath.take();
    }
    const shares = touching.flatMap(({ linear, scale }) => Array.from(linear.shares, (share) => scale * share));
    linears.set(sizes.linear, createLinear(parts, Float32Array.from(shares), null));
  }
  const embedding = scaled.flatMap(({ adapter, scale }) =>
    adapter.embedding.map((own) => ({ ...own, scale: own.scale * scale })),
  );
  return createResident(key, linears, { embedding });
}

/**
 * Joins one part of several sources. A source has as many pages in every part as its fullest part, since a page has one
 * share; ranks that a part lacks are zeros, and are left out behind the last rank.
 */
function joinParts(
  sizes: JoinedSizes,
  part: number,
  sources: readonly { readonly part: ResidentPart; readonly pages: number }[],
): ResidentPart {
  const { layers } = sizes;
  const { bits } = sources[0]!.part;
  const inputs = rankElements(sizes.in, bits);
  const out = rankElements(sizes.outs[part]!, bits);
  let ranks = 0;
  let before = 0;
  for (const { part: source, pages } of sources) {
    if (source.ranks > 0) ranks = before + source.ranks;
    before += pages * pageRanks;
  }
  const joined = createPart(sizes, part, ranks, bits);
  let first = 0;
  for (const { part: source, pages: own } of sources) {
    for (let layer = 0; source.ranks > 0 && layer < layers; layer++) {
      const [from, to] = [layer * source.ranks, layer * ranks + first];
      joined.a.set(source.a.subarray(from * inputs, (from + source.ranks) * inputs), to * inputs);
      joined.b.set(source.b.subarray(from * out, (from + source.ranks) * out), to * out);
    }
    first += own * pageRanks;
  }
  return joined;
}
