// An adapter in memory, in the layout from which pages are copied: ranks as rows, as many as the part's largest pair
// has, all layers of a linear one behind another, 16 or 8 bits a value. Only pages round ranks up to a multiple of 8:
// most adapters in memory are not running, and one of rank 1 takes an eighth of one of rank 8. A page's product is
// multiplied by its share, the factor of the adapter's scaling that is not in its values. half-pair.ts tells what 16
// bits cost, coded-ranks.ts what 8 cost.

import type { TargetModule } from '../../core/adapter.ts';
import { linearSize } from '../../core/adapter.ts';
import type { ModelShape } from '../../core/base-model.ts';
import { type AdapterBits, pageRanks, rankElements } from '../../core/page-sizes.ts';
import { type JoinedLinear, joinedLinears, type Reach, reachOf } from '../../graph/adapted-linear.ts';
import { decodedRanks } from './coded-ranks.ts';
import { changeBytes, type ScaledChange } from './embedding-change.ts';
import type { VirtualRows } from './virtual-rows.ts';

export type ResidentPart = {
  /** The most ranks that any layer has; 0 where the adapter leaves the part alone. */
  readonly ranks: number;
  readonly bits: AdapterBits;
  /** [layers, ranks, rankElements(in)] */
  readonly a: Float16Array<ArrayBuffer>;
  /** [layers, ranks, rankElements(out)] */
  readonly b: Float16Array<ArrayBuffer>;
};

export type ResidentLinear = {
  /** Pages of the part with the most. */
  readonly pages: number;
  /** For each page, the factor of its product. */
  readonly shares: Float32Array;
  /** In the order of `joinedLinears`. */
  readonly parts: readonly ResidentPart[];
  /** DoRA's factors of the base's own product, [layers, out of all parts]; null without DoRA. */
  readonly gains: Float32Array<ArrayBuffer> | null;
};

export type ResidentAdapter = {
  /** Names the weights: a content digest, or several with their scales. */
  readonly key: string;
  readonly linears: ReadonlyMap<JoinedLinear, ResidentLinear>;
  readonly bytes: number;
  /** Whether any linear has DoRA's gains. */
  readonly hasGains: boolean;
  /** The virtual tokens that it puts before a text; null for an adapter that changes weights. */
  readonly virtual: VirtualRows | null;
  /** What it adds to rows of the embedding; empty for most. */
  readonly embedding: readonly ScaledChange[];
  /** The graph that it needs on a device. */
  readonly reach: Reach;
};

/** A joined linear's sizes in the base model; `layers` is 1 for the head. */
export type JoinedSizes = {
  readonly linear: JoinedLinear;
  readonly layers: number;
  readonly in: number;
  readonly modules: readonly TargetModule[];
  readonly outs: readonly number[];
  /** Outputs of all parts together. */
  readonly out: number;
};

export function joinedSizes(shape: ModelShape): JoinedSizes[] {
  return (Object.keys(joinedLinears) as JoinedLinear[]).map((linear) => {
    const modules = joinedLinears[linear];
    const sizes = modules.map((module) => linearSize(shape, module));
    const outs = sizes.map(({ out }) => out);
    return {
      linear,
      modules,
      outs,
      layers: linear === 'head' ? 1 : shape.layers,
      in: sizes[0]!.in,
      out: outs.reduce((sum, out) => sum + out, 0),
    };
  });
}

/** The first output of a part in its joined linear. */
export const firstOutput = ({ outs }: JoinedSizes, part: number): number =>
  outs.slice(0, part).reduce((sum, out) => sum + out, 0);

export function createPart(sizes: JoinedSizes, part: number, ranks: number, bits: AdapterBits = 16): ResidentPart {
  const { layers, in: inputs, outs } = sizes;
  return {
    ranks,
    bits,
    a: new Float16Array(layers * ranks * rankElements(inputs, bits)),
    b: new Float16Array(layers * ranks * rankElements(outs[part]!, bits)),
  };
}

/** @param share of every page; or one share for each page, for combined adapters */
export function createLinear(
  parts: readonly ResidentPart[],
  share: number | Float32Array,
  gains: Float32Array<ArrayBuffer> | null,
): ResidentLinear {
  const pages = Math.ceil(Math.max(...parts.map(({ ranks }) => ranks)) / pageRanks);
  return { pages, shares: typeof share === 'number' ? new Float32Array(pages).fill(share) : share, parts, gains };
}

export function createResident(
  key: string,
  linears: ReadonlyMap<JoinedLinear, ResidentLinear>,
  { virtual = null, embedding = [] }: Partial<Pick<ResidentAdapter, 'virtual' | 'embedding'>> = {},
): ResidentAdapter {
  let bytes = (virtual?.values.byteLength ?? 0) + changeBytes(embedding);
  let hasGains = false;
  for (const { parts, gains } of linears.values()) {
    for (const { a, b } of parts) bytes += a.byteLength + b.byteLength;
    bytes += gains?.byteLength ?? 0;
    hasGains ||= gains !== null;
  }
  return { key, linears, bytes, hasGains, virtual, embedding, reach: reachOf(linears.keys(), hasGains) };
}

/**
 * The matrices of a part in one layer as floats, [ranks, in] and [ranks, out], with the pages' shares multiplied into
 * B.
 */
export function layerOf(
  { parts, shares }: ResidentLinear,
  part: number,
  layer: number,
  { layers, in: inputs, outs }: JoinedSizes,
): { ranks: number; a: Float32Array<ArrayBuffer>; b: Float32Array<ArrayBuffer> } {
  const { ranks, bits, a, b } = parts[part]!;
  const slice = (matrices: Float16Array<ArrayBuffer>, width: number) => {
    const length = matrices.length / layers;
    const own = matrices.subarray(layer * length, (layer + 1) * length);
    return bits === 8 ? decodedRanks(own, width) : new Float32Array(own);
  };
  const floats = slice(b, outs[part]!);
  const page = (pageRanks * floats.length) / Math.max(1, ranks);
  for (let i = 0; i < floats.length; i++) floats[i]! *= shares[Math.floor(i / page)]!;
  return { ranks, a: slice(a, inputs), b: floats };
}
