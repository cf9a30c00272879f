// What a merge's rounding costs: the probes' tokens run through the merged weights, and through the base's with the
// adapter beside them, and the distributions of the next token compared at every position. In pieces between the steps
// of those who are served, on a KV row of its own.

import type { MergeQuality } from '../../protocol/messages.ts';
import type { Breath } from '../adapters/breath.ts';
import { noPages } from '../adapters/page-pool.ts';
import type { ResidentAdapter } from '../adapters/resident-adapter.ts';
import type { RowAdapter } from '../adapters/row-adapter.ts';
import type { Decoder } from '../decoder.ts';
import { probeRow } from '../kv-cache.ts';
import type { BetweenSteps } from './between-steps.ts';
import { createComparison } from './compare.ts';
import type { MergedModel } from './merged-model.ts';

export type Probing = {
  readonly decoder: Decoder;
  readonly betweenSteps: BetweenSteps;
  readonly breath: Breath;
  readonly probes: readonly (readonly number[])[];
};

type Unmerged = { readonly adapter: ResidentAdapter; readonly scale: number };

/** Tokens of a piece: about half of a step of a few rows, so that nobody's token comes noticeably later. */
const pieceTokens = 4;

/** null without probes, and where rows hold all the pages that the adapter would need. */
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
  if (!pages.memory.servesPrefills) {
    return compareOn(probes, probing, { ...unmerged, placement: noPages }, merged, onProgress);
  }
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
  const comparison = createComparison(decoder.vocabulary);
  for (const [done, tokens] of probes.entries()) {
    const expected: Float32Array[] = [];
    await eachPiece(probing, tokens, { adapters: [row] }, async (logits) => void expected.push(logits));
    // What the row holds is the unmerged model's: the merged one begins again.
    await eachPiece(probing, tokens, { merged }, async (logits) => {
      comparison.add(expected.shift()!, logits);
      await breath.take();
    });
    onProgress((done + 1) / probes.length);
  }
  return comparison.quality();
}

async function eachPiece(
  { decoder, betweenSteps, breath }: Probing,
  tokens: readonly number[],
  weights: Partial<Parameters<Decoder['forward']>[0]>,
  visit: (logits: Float32Array) => Promise<void>,
): Promise<void> {
  for (let past = 0; past < tokens.length; past += pieceTokens) {
    const piece = tokens.slice(past, past + pieceTokens);
    const run = async () => {
      const sampled = piece.map((_, i) => i);
      const place = { phase: 'prefill', first: probeRow, pasts: [past] } as const;
      const logits = await decoder.forward({ ...place, tokens: piece, sampled, ...weights });
      return logits.slice();
    };
    await visit(await betweenSteps.run(run));
    await breath.take();
  }
}
