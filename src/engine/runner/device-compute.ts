// Runs over a device's rows, whose attention takes equally many new tokens of each row: all rows that decode in one
// run, prompts one after another. The logits of a step that decodes stay on the device and the best of them come back.

import { LRUCache } from 'lru-cache';
import type { ModelShape } from '../../core/base-model.ts';
import type { DecoderResult } from '../../graph/adapted-linear.ts';
import { withoutAdapters } from '../../graph/decoder.ts';
import type { Runtime } from '../../runtime/session.ts';
import type { KvCache, KvRange } from '../kv/kv-cache.ts';
import type { TopLogits } from '../sampling/draw-top.ts';
import type { Compute } from './compute.ts';
import type { DecoderModels } from './decoder-models.ts';
import type { DeviceLogits } from './device-logits.ts';
import { type DeviceRun, inOrder, runsOf } from './device-run.ts';
import type { DeviceRuns } from './device-runs.ts';
import { createDeviceWindow, type DeviceWindow } from './device-window.ts';
import { evenForLongPrefills } from './even-prefills.ts';
import { evenRows, withRowsBeside } from './even-steps.ts';
import { type ForwardBatch, resultWidth, sampledCount } from './forward-batch.ts';
import { type LogitsPlace, resultsIn } from './logits-place.ts';
import type { MergedModel } from './merged-model.ts';
import { graphKey } from './model-sessions.ts';

export type DeviceComputeParts = {
  readonly shape: ModelShape;
  readonly kv: KvCache;
  readonly runs: DeviceRuns;
  readonly models: DecoderModels;
  readonly logits: DeviceLogits;
};

/** Fewest bindings that are kept: for several numbers of rows, on the base and on a few merged models. */
const windowsMin = 128;
/** Bindings for each row: prefills with and without adapters, and steps with its number of rows. */
const windowsPerRow = 4;

type Kept = { readonly model: number; readonly place: string; readonly window: DeviceWindow };

/** @returns also `dropPlace`, to be called before the memory of a place is released */
export function createDeviceCompute(
  runtime: Runtime,
  { shape, kv, runs: adapterRuns, models, logits: onDevice }: DeviceComputeParts,
): Compute & { dropPlace(place: string): void } {
  const { vocabulary, layers } = shape;
  const kept = new LRUCache<string, Kept>({
    max: Math.max(windowsMin, windowsPerRow * kv.rows),
    dispose: ({ window }) => window.release(),
  });
  const drop = (isGone: (kept: Kept) => boolean) => {
    for (const [key, one] of [...kept.entries()]) if (isGone(one)) kept.delete(key);
  };

  /** Gives the number of rows of logits; those of rows that were taken along come last. */
  const computeIn = async (range: KvRange, asked: DeviceRun, merged: MergedModel | null, place: LogitsPlace) => {
    const isEven = asked.phase === 'decode' && place.stays && runtime.device?.records;
    const most = Math.min(evenRows(asked.rows.length), onDevice.rows);
    const more = isEven ? most - asked.rows.length : 0;
    const run = more > 0 ? withRowsBeside(asked, range.beside!(more)) : asked;
    const { phase, adapters, rows } = run;
    const { result = 'logits' } = place;
    const model = models.of(merged);
    const form = merged === null ? adapterRuns.form(phase, adapters) : withoutAdapters;
    const session = await model.sessions.of(form, { result });
    const key = [model.id, phase, range.place, rows.length, graphKey(form, result)].join(' ');
    let window = kept.get(key)?.window;
    if (!window) {
      const tied = { layers, positions: kv.positions, rows: rows.length };
      window = createDeviceWindow(runtime, session, range, tied, (binding) => adapterRuns.tie(binding, form, result));
      kept.set(key, { model: model.id, place: range.place, window });
    }
    window.fill(run, place);
    await session.run(window.binding, { steady: phase === 'decode' && place.stays });
    return run.sampled.length;
  };
  const compute = async (run: DeviceRun, merged: MergedModel | null, place: LogitsPlace) => {
    for (const adapter of run.adapters) await adapter?.placement.copied;
    const added = run.rows.map(() => run.tokens.length / run.rows.length);
    return kv.use(run.rows, run.pasts, added, (range) => computeIn(range, inOrder(run, range.order), merged, place));
  };
  type Whole = {
    readonly run: DeviceRun;
    readonly merged: MergedModel | null;
    readonly result: DecoderResult;
    readonly aside: boolean;
  };
  const computeWhole = async ({ run, merged, result, aside }: Whole): Promise<Float32Array> => {
    const width = resultWidth(shape, result);
    // Every run gives results of at least one row.
    const given = run.sampled.length > 0 ? run : { ...run, sampled: [run.tokens.length - 1] };
    const count = given.sampled.length * width;
    const results = aside ? new Float32Array(count) : models.of(merged).logits(count);
    await compute(given, merged, resultsIn(runtime, results, result));
    return results.subarray(0, run.sampled.length * width);
  };
  const prefill = evenForLongPrefills(computeWhole, console.warn);
  const whole = (batch: ForwardBatch, run: DeviceRun) => {
    const { merged = null, result = 'logits', aside = false } = batch;
    return (run.phase === 'prefill' ? prefill : computeWhole)({ run, merged, result, aside });
  };
  return {
    dropModel: (id) => drop(({ model }) => model === id),
    dropPlace: (gone) => drop(({ place }) => place === gone),
    async forward(batch) {
      const runs = runsOf(batch.parts);
      if (runs.length === 1) return whole(batch, runs[0]!);
      const all = new Float32Array(sampledCount(batch) * resultWidth(shape, batch.result ?? 'logits'));
      let at = 0;
      for (const run of runs) {
        const results = await whole(batch, run);
        all.set(results, at);
        at += results.length;
      }
      return all;
    },
    async logitsOf(batch, temperatures) {
      const rows: (Float32Array | TopLogits)[] = [];
      /** Rows whose logits stay on the device: the number of the first, and how many there are. */
      let stay = { first: 0, count: 0 };
      for (const run of runsOf(batch.parts)) {
        const { length: count } = run.sampled;
        if (run.phase === 'decode' && count > 0 && stay.count === 0) {
          const all = await compute(run, batch.merged ?? null, onDevice);
          stay = { first: rows.length, count: all };
          const own = temperatures.slice(rows.length, rows.length + count);
          const beside = new Array<number>(all - count).fill(0);
          rows.push(...(await onDevice.top([...own, ...beside])).slice(0, count));
        } else {
          const logits = (await whole(batch, run)).slice();
          for (let i = 0; i < count; i++) rows.push(logits.subarray(i * vocabulary, (i + 1) * vocabulary));
        }
      }
      return {
        rows,
        async whole(wanted) {
          const there = wanted.map((row) => row - stay.first);
          return await onDevice.whole(there, stay.count);
        },
      };
    },
  };
}
