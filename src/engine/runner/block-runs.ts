// Adapters of runs over blocks: which graph a batch takes, and what of adapters is tied to its binding.

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

/** On a device. One sequence's tokens read the same pages, as a prompt's do. */
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
