// One run of a decoder: rows where they lie, the session of their model and adapters, and the binding that ties both to
// the place where logits come to lie.

import type { GraphTarget } from '../graph/target.ts';
import type { Runtime } from '../runtime/session.ts';
import { type AdaptedRun, type AdaptedRuns, adaptedWindow } from './adapters/adapted-windows.ts';
import type { DecoderModels } from './decoder-models.ts';
import { type ForwardBatch, inOrder } from './forward-batch.ts';
import type { KvCache, KvRange } from './kv-cache.ts';
import { graphKey } from './model-sessions.ts';
import { createWindow, type LogitsPlace } from './window.ts';
import type { Windows } from './windows.ts';

export type Compute = (batch: ForwardBatch, logits: LogitsPlace) => Promise<void>;

export type ComputeParts = {
  readonly layers: number;
  readonly target: GraphTarget;
  readonly kv: KvCache;
  readonly runs: AdaptedRuns;
  readonly models: DecoderModels;
  readonly windows: Windows;
};

export function createCompute(runtime: Runtime, parts: ComputeParts): Compute {
  const { layers, target, kv, runs, models, windows } = parts;
  const computeIn = async (range: KvRange, batch: ForwardBatch, logits: LogitsPlace): Promise<void> => {
    const { phase, pasts, aside = false } = batch;
    const on = models.of(batch.merged ?? null);
    const run = runOf(runs, batch);
    const session = await on.sessions.of(phase, run.form);
    const tie = () => adaptedWindow(createWindow(runtime, session, range, layers, batch));
    const key = `${on.id} ${phase} ${range.place} ${pasts.length} ${graphKey(run.form)} ${run.key}`;
    const window = aside ? tie() : windows.of(key, tie);
    try {
      window.fill(batch, logits);
      run.prepare(window);
      await session.run(window.binding, { aside, steady: phase === 'decode' && logits.stays });
    } finally {
      if (aside) window.release();
    }
  };
  return async (asked, logits) => {
    // On a device a prefill reads pages, too.
    if (target.on === 'device') for (const row of asked.adapters ?? []) await row?.placement.copied;
    await kv.use(asked.first, asked.pasts, (range) => computeIn(range, inOrder(asked, range.order), logits));
  };
}

function runOf(runs: AdaptedRuns, { phase, tokens, adapters = [], sampled }: ForwardBatch): AdaptedRun {
  if (phase === 'prefill') return runs.one(adapters[0] ?? null, tokens.length, sampled.length);
  return runs.mixed(adapters, adapters.length > 0 ? sampled.map((row) => adapters[row]!) : []);
}
