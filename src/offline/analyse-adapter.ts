// Analyses what an adapter changes, linear by linear: the figures of section 7 of the LoRA paper, from the thin factors
// and one pass over the rows of each base weight that the adapter touches.

import { limits } from '../core/limits.ts';
import type { AdapterPair } from '../formats/peft-adapter.ts';
import { unsupportedAdapter } from '../formats/refuse-adapter.ts';
import { openModel } from '../models/open.ts';
import type { AdapterAnalysis, LinearAnalysis, LinearSimilarity, OfflineWork } from '../protocol/offline-messages.ts';
import { deltaSvd } from './delta-svd.ts';
import type { Svd } from './jacobi-svd.ts';
import { normAlong } from './norm-along.ts';
import { type OpenAdapter, readAdapter } from './read-adapter.ts';
import { subspaceSimilarity } from './subspace-similarity.ts';

/** Throws the adapters' own errors. */
export async function analyseAdapter(work: Extract<OfflineWork, { kind: 'analysis' }>): Promise<AdapterAnalysis> {
  const { shape, tensors } = await openModel(work.model);
  const adapter = readAdapter(work.adapter, shape);
  if (adapter.pairs.size === 0) unsupportedAdapter('embed_tokens', 'is all that it changes: no linear has a pair');
  const against = work.against === null ? null : readAdapter(work.against, shape);
  const linears = [...adapter.pairs].map(([weight, pair]): LinearAnalysis => {
    const delta = deltaSvd(adapter.values(pair));
    const base = tensors.get(weight) ?? tensors.get('model.embed_tokens.weight')!;
    const along = delta.s.length === 0 ? 0 : normAlong(base, delta.u, delta.v);
    const { layer, module, r, scaling } = pair;
    const figures = figuresOf(delta.s);
    return {
      ...{ layer, module, r, scaling },
      ...figures,
      amplification: along > 0 ? figures.frobeniusNorm / along : null,
      similarity: compare(delta, against, weight),
    };
  });
  return { usesDora: adapter.usesDora, linears };
}

/** Computes figures from singular values. `s` is descending and above zero. */
export function figuresOf(
  s: Float64Array,
): Pick<LinearAnalysis, 'singularValues' | 'frobeniusNorm' | 'effectiveRank' | 'stableRank'> {
  const sum = s.reduce((total, value) => total + value, 0);
  const squares = s.reduce((total, value) => total + value * value, 0);
  const entropy = s.reduce((total, value) => total - (value / sum) * Math.log(value / sum), 0);
  return {
    singularValues: [...s.subarray(0, limits.analysisSingularValues)],
    frobeniusNorm: Math.sqrt(squares),
    effectiveRank: s.length === 0 ? 0 : Math.exp(entropy),
    stableRank: s.length === 0 ? 0 : squares / s[0]! ** 2,
  };
}

function compare({ u, v }: Svd, against: OpenAdapter | null, weight: string): LinearSimilarity | null {
  const pair: AdapterPair | undefined = against?.pairs.get(weight);
  if (pair === undefined || u.length === 0) return null;
  const other = deltaSvd(against!.values(pair));
  if (other.u.length === 0) return null;
  return { input: subspaceSimilarity(v, other.v), output: subspaceSimilarity(u, other.u) };
}
