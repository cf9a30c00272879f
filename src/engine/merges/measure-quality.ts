// Measures what a merge's rounding costs. The probes' tokens run through the merged weights, and through the base's
// with the adapter beside them; the distributions of the next token are compared at every position. Runs beside the
// steps that serve requests, on a KV row of its own.

import type { MergeQuality } from '../../protocol/messages.ts';
import type { Breath } from '../adapters/breath.ts';
import type { ResidentAdapter } from '../adapters/resident-adapter.ts';
import type { RowAdapter } from '../adapters/row-adapter.ts';
import { probeRow } from '../kv/kv-cache.ts';
import type { Decoder } from '../runner/decoder.ts';
import { evenBatch } from '../runner/forward-batch.ts';
import type { MergedModel } from '../runner/merged-model.ts';
import { createComparison } from './compare.ts';

export type Probing = {
  readonly decoder: Decoder;
  readonly breath: Breath;
  readonly probes: readonly (readonly number[])[];
};

type Unmerged = { readonly adapter: ResidentAdapter; readonly scale: number };

/** null without probes, and where running rows hold pages that the adapter would need. */
export async function measureQuality(
  probing: Probing,
  unmerged: Unmerged,
  merged: MergedModel,
  onProgress: (share: number) => void,
): Promise<MergeQuality | null> {
  const { positions } = probing.decoder.kv;
  const probes = probing.probes.map((probe) => probe.slice(0, positions)).filter(({ length }) => length > 0);
  if (probes.length === 0) return null;
  const { pages } = probing.decoder;
  const placement = pages.place(unmerged.adapter);
  if (placement === null) return null;
  try {
    return await compareOn(probes, probing, { ...unmerged, placement }, merged, onProgress);
  } finally {
    pages.release(placement);
  }
}

async function compareOn(
  probes: readonly (readonly number[])[],
  probing: Probing,
  row: RowAdapter,
  merged: MergedModel,
  onProgress: (share: number) => void,
): Promise<MergeQuality> {
  const { decoder, breath } = probing;
  const { vocabulary } = decoder;
  const comparison = createComparison(vocabulary);
  for (const [done, tokens] of probes.entries()) {
    const sampled = tokens.map((_, i) => i);
    const prompt = { kind: 'prompt', first: probeRow, pasts: [0], tokens, sampled, aside: true } as const;
    const unmerged = await decoder.forward(evenBatch({ ...prompt, adapters: [row] }));
    const ofMerged = await decoder.forward(evenBatch({ ...prompt, merged }));
    for (let at = 0; at < unmerged.length; at += vocabulary) {
      comparison.add(unmerged.subarray(at, at + vocabulary), ofMerged.subarray(at, at + vocabulary));
      await breath.take();
    }
    onProgress((done + 1) / probes.length);
  }
  return comparison.quality();
}
