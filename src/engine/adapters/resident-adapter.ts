// An adapter in memory, in the layout that every reading of it shares: ranks as rows, padded with zeros to whole pages
// of 8, all layers of a linear behind each other. A prefill binds its matrices as they are, and pages are copies of
// them.

import type { TargetModule } from '../../core/adapter.ts';
import { linearSize } from '../../core/adapter.ts';
import type { ModelShape } from '../../core/base-model.ts';
import { type JoinedLinear, joinedLinears, type Reach, reachOf } from '../../graph/adapted-linear.ts';

/** Ranks of a page. */
export const pageRanks = 8;

export type ResidentPart = {
  /** A multiple of 8; 0 where the adapter does not touch the part. */
  readonly ranks: number;
  /** [layers, ranks, in] */
  readonly a: Float32Array<ArrayBuffer>;
  /** [layers, ranks, out], alpha / r folded in. */
  readonly b: Float32Array<ArrayBuffer>;
};

export type ResidentLinear = {
  /** Of the part with the most. */
  readonly pages: number;
  /** In the order of `joinedLinears`. */
  readonly parts: readonly ResidentPart[];
  /** DoRA: what the base's own product is multiplied with, [layers, out of all parts]; null without. */
  readonly gains: Float32Array<ArrayBuffer> | null;
};

export type ResidentAdapter = {
  /** Says which weights these are: a content digest, or several with their scales. */
  readonly key: string;
  readonly linears: ReadonlyMap<JoinedLinear, ResidentLinear>;
  readonly bytes: number;
  /** DoRA, in some linear. */
  readonly hasGains: boolean;
  /** The graph that it needs. */
  readonly reach: Reach;
};

/** A joined linear's sizes in the base model; `layers` is 1 for the head. */
export type JoinedSizes = {
  readonly linear: JoinedLinear;
  readonly layers: number;
  readonly in: number;
  readonly modules: readonly TargetModule[];
  readonly outs: readonly number[];
  /** Of all parts. */
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

/** Where a part begins among the outputs of its joined linear. */
export const firstOutput = ({ outs }: JoinedSizes, part: number): number =>
  outs.slice(0, part).reduce((sum, out) => sum + out, 0);

export function createPart(sizes: JoinedSizes, part: number, ranks: number): ResidentPart {
  const { layers, in: inputs, outs } = sizes;
  return {
    ranks,
    a: new Float32Array(layers * ranks * inputs),
    b: new Float32Array(layers * ranks * outs[part]!),
  };
}

export function createResident(key: string, linears: ReadonlyMap<JoinedLinear, ResidentLinear>): ResidentAdapter {
  let bytes = 0;
  let hasGains = false;
  for (const { parts, gains } of linears.values()) {
    for (const { a, b } of parts) bytes += a.byteLength + b.byteLength;
    bytes += gains?.byteLength ?? 0;
    hasGains ||= gains !== null;
  }
  return { key, linears, bytes, hasGains, reach: reachOf(linears.keys(), hasGains) };
}

export const pagesOf = (parts: readonly ResidentPart[]): number =>
  Math.max(...parts.map(({ ranks }) => ranks)) / pageRanks;
