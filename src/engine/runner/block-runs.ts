// Adapters of runs over blocks: chooses a batch's graph, and binds what the graph needs of adapters.

import type { AdaptersInGraph, DecoderResult } from '../../graph/adapted-linear.ts';
import { withoutAdapters } from '../../graph/decoder.ts';
import type { Binding } from '../../runtime/session.ts';
import type { TiedAdapters } from './adapter-runs.ts';
import type { DeviceRuns } from './device-runs.ts';
import type { BatchPart } from './forward-batch.ts';

export type BlockRuns = {
  /** The graph of a batch. Merged weights have no adapters beside them. */
  form(parts: readonly BatchPart[], isMerged: boolean): AdaptersInGraph;
  tie(binding: Binding, form: AdaptersInGraph, result: DecoderResult): TiedAdapters | null;
};

/**
 * Runs over blocks on a device. A single sequence takes the graph of a prefill, whose tokens all read the same pages.
 */
export const deviceBlockRuns = ({ form, tie }: DeviceRuns): BlockRuns => ({
  form: (parts, isMerged) =>
    isMerged
      ? withoutAdapters
      : form(
          parts.length === 1 ? 'prefill' : 'decode',
          parts.map(({ adapter }) => adapter),
        ),
  tie,
});
