// One run of a decoder: rows where they lie, the session of their model and adapters, and the binding that ties both to
// the place where logits come to lie.

import type { Runtime } from '../runtime/session.ts';
import { type AdapterRuns, adaptedRows, adaptedWindow, formOf } from './adapters/adapter-runs.ts';
import type { DecoderModels } from './decoder-models.ts';
import { type ForwardBatch, inOrder } from './forward-batch.ts';
import type { KvCache, KvRange } from './kv-cache.ts';
import { graphKey } from './model-sessions.ts';
import { createWindow, type LogitsPlace } from './window.ts';
import type { Windows } from './windows.ts';

export type Compute = (batch: ForwardBatch, logits: LogitsPlace) => Promise<void>;

export type ComputeParts = {
  readonly layers: number;
  readonly kv: KvCache;
  readonly runs: AdapterRuns;
  readonly models: DecoderModels;
  readonly windows: Windows;
};

export function createCompute(runtime: Runtime, parts: ComputeParts): Compute {
  const { layers, kv, runs, models, windows } = parts;
  const computeIn = async (range: KvRange, batch: ForwardBatch, logits: LogitsPlace): Promise<void> => {
    const { phase, pasts, aside = false } = batch;
    const on = models.of(batch.merged ?? null);
    const form = formOf(runs, batch);
    const session = await on.sessions.of(phase, form);
    const tie = () => {
      const window = createWindow(runtime, session, range, { layers, positions: kv.positions }, batch);
      return adaptedWindow(window, runs.tie(window.binding, form, phase, pasts.length));
    };
    const key = `${on.id} ${phase} ${range.place} ${pasts.length} ${graphKey(form)}`;
    const window = aside ? tie() : windows.of(key, tie);
    try {
      window.fill(batch, logits, range.blocks);
      window.adapters?.write(adaptedRows(batch));
      await session.run(window.binding, { aside, steady: phase === 'decode' && logits.stays });
    } finally {
      if (aside) window.release();
    }
  };
  return async (asked, logits) => {
    for (const row of asked.adapters ?? []) await row?.placement.copied;
    const added = asked.tokens.length / asked.pasts.length;
    await kv.use(asked.first, asked.pasts, added, (range) => computeIn(range, inOrder(asked, range.order), logits));
  };
}
