// Decode steps of a number of rows on a number of adapters, the base's and the mixed batch's in turns.

import type { TargetModule } from '../../src/core/adapter.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { ResidentAdapter } from '../../src/engine/adapters/resident-adapter.ts';
import type { RowAdapter } from '../../src/engine/adapters/row-adapter.ts';
import type { Decoder } from '../../src/engine/decoder.ts';
import { type Spread, spread } from '../statistics.ts';

export const allLinears: readonly TargetModule[] = [
  ...(['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] as const),
];

export type Work = { readonly rows: number; readonly adapters: number };

export type Measured = Work & {
  readonly baseMs: Spread;
  /** The same as the base's where there are no adapters. */
  readonly mixedMs: Spread;
  /** Of the base's speed. */
  readonly kept: Spread;
  /** Choosing the largest logit of every row, on the host. */
  readonly argmaxMs: number;
};

export type Steps = {
  readonly decoder: Decoder;
  readonly context: number;
  readonly rounds: number;
  /** Adapter `i` of those that there are. */
  adapter(i: number): ResidentAdapter;
};

export async function measureDecode(steps: Steps, work: Work): Promise<Measured> {
  const { decoder, rounds } = steps;
  const placed = Array.from({ length: work.adapters }, (_, i) => place(decoder, steps.adapter(i)));
  for (const { placement } of placed) await placement.copied;
  const rows = Array.from({ length: work.rows }, (_, row) => (placed.length > 0 ? placed[row % placed.length]! : null));
  const base: number[] = [];
  const mixed: number[] = [];
  let argmaxMs = 0;
  for (let round = -3; round < rounds; round++) {
    const [baseStep, mixedStep] = [
      await step(
        steps,
        rows.map(() => null),
      ),
      await step(steps, rows),
    ];
    // The first rounds bind, and compile kernels.
    if (round < 0) continue;
    base.push(baseStep.ms);
    mixed.push(mixedStep.ms);
    argmaxMs = argmaxOf(mixedStep.logits, decoder.vocabulary);
  }
  for (const { placement } of placed) decoder.pages.release(placement);
  const kept = spread(base.map((ms, i) => ms / mixed[i]!));
  return { ...work, baseMs: spread(base), mixedMs: spread(mixed), kept, argmaxMs };
}

function place({ pages }: Decoder, adapter: ResidentAdapter): RowAdapter {
  const placement = pages.place(adapter);
  if (placement === null) throw new Error('the adapters do not fit into the pages');
  return { adapter, placement, scale: 1 };
}

/** Always over the same positions: what the rows hold there does not matter to time. */
async function step({ decoder, context }: Steps, adapters: readonly (RowAdapter | null)[]) {
  const start = systemClock.monotonic();
  const logits = await decoder.forward({
    ...{ phase: 'decode', first: 0 },
    pasts: adapters.map(() => context),
    tokens: adapters.map((_, row) => row % decoder.vocabulary),
    sampled: adapters.map((_, row) => row),
    adapters,
  });
  return { ms: systemClock.monotonic() - start, logits };
}

function argmaxOf(logits: Float32Array, vocabulary: number): number {
  const start = systemClock.monotonic();
  let chosen = 0;
  for (let at = 0; at < logits.length; at += vocabulary) {
    let best = at;
    for (let i = at + 1; i < at + vocabulary; i++) if (logits[i]! > logits[best]!) best = i;
    chosen += best;
  }
  if (Number.isNaN(chosen)) throw new Error('the logits are no numbers');
  return systemClock.monotonic() - start;
}
