// An offline client without processes: exports are a few bytes, analyses have one linear.

import { Readable } from 'node:stream';
import type { LinearAnalysis } from '../../src/protocol/offline-messages.ts';
import type { OfflineClient } from '../../src/protocol/offline-process.ts';

export const tinyAnalysis: LinearAnalysis = {
  layer: 0,
  module: 'q_proj',
  r: 2,
  scaling: 2,
  singularValues: [3.123456789, 1],
  frobeniusNorm: 3.25,
  effectiveRank: 1.75,
  stableRank: 1.1,
  amplification: 20,
  similarity: null,
};

export type FakeOffline = OfflineClient & {
  /** The orders so far, with their signals. */
  readonly asked: (Parameters<OfflineClient['exportMerged' | 'analyse']>[0] & { readonly signal: AbortSignal })[];
};

/** @param change replaces answers */
export function fakeOffline(change: Partial<OfflineClient> = {}): FakeOffline {
  const asked: FakeOffline['asked'] = [];
  const client: OfflineClient = {
    async exportMerged({ format }) {
      return { bytes: format.length, body: Readable.from([Buffer.from(format)]) };
    },
    async analyse({ against }) {
      const grid = { own: [1, 2], other: [1, 2], phi: [[0.5, 0.25], [0.5, 1]] }; // biome-ignore format: a matrix
      const similarity = against === null ? null : { input: grid, output: grid };
      return { usesDora: false, linears: [{ ...tinyAnalysis, similarity }] };
    },
    close() {},
    ...change,
  };
  return {
    ...client,
    asked,
    exportMerged: (order, signal) => {
      asked.push({ ...order, signal });
      return client.exportMerged(order, signal);
    },
    analyse: (order, signal) => {
      asked.push({ ...order, signal });
      return client.analyse(order, signal);
    },
  };
}
