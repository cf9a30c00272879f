// Several adapters of one request as one: a sum of low-rank products is one product of ranks side by side, so that the
// rest of the engine knows one adapter a sequence.  sum_i scale_i * B_i A_i = [scale_1 B_1, scale_2 B_2, ...] [A_1; A_2; ...]

import type { ModelShape } from '../../core/base-model.ts';
import { LorikeetError } from '../../core/errors.ts';
import type { JoinedLinear } from '../../graph/adapted-linear.ts';
import type { Breath } from './breath.ts';
import {
  createPart,
  createResident,
  type JoinedSizes,
  joinedSizes,
  pagesOf,
  type ResidentAdapter,
  type ResidentLinear,
  type ResidentPart,
} from './resident-adapter.ts';

export type Scaled = { readonly adapter: ResidentAdapter; readonly scale: number };

/** Throws `adapter_unsupported` for DoRA, whose gains are no sum. */
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
      const sources = touching.map(({ linear, scale }) => ({ part: linear.parts[part]!, scale }));
      parts.push(joinParts(sizes, part, sources));
      await breath.take();
    }
    linears.set(sizes.linear, { parts, pages: pagesOf(parts), gains: null });
  }
  return createResident(key, linears);
}

function joinParts(
  sizes: JoinedSizes,
  part: number,
  sources: readonly { part: ResidentPart; scale: number }[],
): ResidentPart {
  const { layers, in: inputs, outs } = sizes;
  const out = outs[part]!;
  const ranks = sources.reduce((sum, source) => sum + source.part.ranks, 0);
  const joined = createPart(sizes, part, ranks);
  let first = 0;
  for (const { part: source, scale } of sources) {
    for (let layer = 0; layer < layers; layer++) {
      const [from, to] = [layer * source.ranks, layer * ranks + first];
      joined.a.set(source.a.subarray(from * inputs, (from + source.ranks) * inputs), to * inputs);
      for (let i = 0; i < source.ranks * out; i++) joined.b[to * out + i] = scale * source.b[from * out + i]!;
    }
    first += source.ranks;
  }
  return joined;
}
