// Times decode steps of some rows on some adapters, up to the chosen tokens: of the base, of the mixed batch, and of
// the mixed batch with all logits fetched, alternating. Also times steps that prefill prompts for those rows.

import type { TargetModule } from '../../src/core/adapter.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { ResidentAdapter } from '../../src/engine/adapters/resident-adapter.ts';
import type { RowAdapter } from '../../src/engine/adapters/row-adapter.ts';
import type { Decoder } from '../../src/engine/runner/decoder.ts';
import { type BatchPart, type EvenBatch, evenBatch } from '../../src/engine/runner/forward-batch.ts';
import { argmax } from '../../src/engine/sampling/argmax.ts';
import type { TopLogits } from '../../src/engine/sampling/draw-top.ts';
import { type Spread, spread } from '../statistics.ts';

export const allLinears: readonly TargetModule[] = [
  ...(['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] as const),
];

export type Work = { readonly rows: number; readonly adapters: number };

export type Measured = Work & {
  readonly baseMs: Spread;
  /** Times of the mixed batch; equal to the base's where there are no adapters. */
  readonly mixedMs: Spread;
  /** Share of the base's speed that the mixed batch keeps. */
  readonly kept: Spread;
  /** Times of the mixed batch where every row's logits are fetched and the largest is found on the host. */
  readonly fetchedMs: Spread;
  /** Milliseconds of the mixed batch's first steps, which make bindings, compile kernels and are recorded. */
  readonly firstMs: readonly number[];
};

export type Steps = {
  readonly decoder: Decoder;
  readonly context: number;
  readonly rounds: number;
  /** Gives adapter number `i`. */
  adapter(i: number): ResidentAdapter;
};

export async function measureDecode(steps: Steps, work: Work): Promise<Measured> {
  const { decoder, rounds } = steps;
  const placed = Array.from({ length: work.adapters }, (_, i) => place(decoder, steps.adapter(i)));
  for (const { placement } of placed) await placement.copied;
  const rows = Array.from({ length: work.rows }, (_, row) => (placed.length > 0 ? placed[row % placed.length]! : null));
  const nobody = rows.map(() => null);
  // Where memory can only be viewed from its start, a row with a past must have run before.
  await decoder.forward(evenBatch({ ...batchOf(steps, nobody), pasts: nobody.map(() => 0) }));
  const base: number[] = [];
  const mixed: number[] = [];
  const fetched: number[] = [];
  const firstMs: number[] = [];
  for (let round = -3; round < rounds; round++) {
    const times = [await step(steps, nobody), await step(steps, rows), await stepFetching(steps, rows)] as const;
    if (round < 0) {
      firstMs.push(times[1], times[2]);
      continue;
    }
    base.push(times[0]);
    mixed.push(times[1]);
    fetched.push(times[2]);
  }
  for (const { placement } of placed) decoder.pages.release(placement);
  const kept = spread(base.map((ms, i) => ms / mixed[i]!));
  return { ...work, baseMs: spread(base), mixedMs: spread(mixed), fetchedMs: spread(fetched), firstMs, kept };
}

export type MeasuredPrompts = {
  readonly prompts: number;
  readonly tokens: number;
  /** Milliseconds until all first tokens. */
  readonly ms: Spread;
};

/** About as many prompt tokens as an engine prefills in a step. */
const promptTokens = 2048;

/** Times prompts of `context` tokens prefilled at once: as many as fit one step, but no more than `rows`. */
export async function measurePrompts(steps: Steps, rows: number): Promise<MeasuredPrompts> {
  const { decoder, context, rounds } = steps;
  const prompts = Math.max(1, Math.min(rows, Math.floor(promptTokens / context)));
  const tokens = Array.from({ length: context }, (_, i) => i % decoder.vocabulary);
  const parts = Array.from({ length: prompts }, (_, row): BatchPart => {
    return { row, past: 0, to: context, tokens, kind: 'prompt', sampled: [context - 1], adapter: null };
  });
  const temperatures = parts.map(() => 0);
  const times: number[] = [];
  for (let round = -2; round < rounds; round++) {
    const start = systemClock.monotonic();
    await decoder.logitsOf({ parts }, temperatures);
    if (round >= 0) times.push(systemClock.monotonic() - start);
  }
  return { prompts, tokens: context, ms: spread(times) };
}

function place({ pages }: Decoder, adapter: ResidentAdapter): RowAdapter {
  const placement = pages.place(adapter);
  if (placement === null) throw new Error('the adapters do not fit into the pages');
  return { adapter, placement, scale: 1 };
}

type Rows = readonly (RowAdapter | null)[];

/** A decode batch, always over the same positions, since the content of the rows does not change the time. */
const batchOf = ({ decoder, context }: Steps, adapters: Rows): EvenBatch => ({
  ...{ kind: 'answer', first: 0 },
  pasts: adapters.map(() => context),
  tokens: adapters.map((_, row) => row % decoder.vocabulary),
  sampled: adapters.map((_, row) => row),
  adapters,
});

const greedy = (rows: Rows) => rows.map(() => 0);

/** Milliseconds of a step whose logits stay on the device. */
async function step(steps: Steps, adapters: Rows): Promise<number> {
  const batch = batchOf(steps, adapters);
  const temperatures = greedy(adapters);
  const start = systemClock.monotonic();
  const { rows } = await steps.decoder.logitsOf(evenBatch(batch), temperatures);
  const chosen = (rows as readonly TopLogits[]).reduce((sum, { tokens, mass }) => sum + tokens[0]! * mass, 0);
  const ms = systemClock.monotonic() - start;
  if (Number.isNaN(chosen)) throw new Error('the logits are no numbers');
  return ms;
}

async function stepFetching(steps: Steps, adapters: Rows): Promise<number> {
  const batch = batchOf(steps, adapters);
  const start = systemClock.monotonic();
  const { whole } = await steps.decoder.logitsOf(evenBatch(batch), greedy(adapters));
  for (const logits of await whole(adapters.map((_, row) => row))) argmax(logits);
  return systemClock.monotonic() - start;
}
