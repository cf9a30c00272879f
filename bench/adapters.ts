// Measures what adapters cost a decode step: the share of the base's speed that a mixed batch keeps, by rank, by
// modules and by how many adapters the rows share. All in one process, where steps of the base and of the mixed batch
// alternate.
//
//     npm run bench:adapters -- [--model <name or gguf>] [--batch 8] [--context 128] [--rounds 15] [--threads 2]
//     ... --bits 8     bits of an adapter's values in memory; 16 by default

import { mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config.ts';
import type { TargetModule } from '../src/core/adapter.ts';
import { systemClock } from '../src/core/clock.ts';
import { createBreath } from '../src/engine/adapters/breath.ts';
import { codedAdapter } from '../src/engine/adapters/coded-adapter.ts';
import type { RowAdapter } from '../src/engine/adapters/row-adapter.ts';
import { createDecoder } from '../src/engine/runner/decoder.ts';
import { evenBatch } from '../src/engine/runner/forward-batch.ts';
import { loadWeights } from '../src/graph/weights.ts';
import { modelSources } from '../src/main/model.ts';
import { resolveModel } from '../src/models/resolve.ts';
import { createOnnxRuntime } from '../src/runtime/onnx-runtime.ts';
import { describeMachine } from './machine.ts';
import { randomAdapter } from './random-adapter.ts';
import { type Spread, showSpread, spread } from './statistics.ts';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    batch: { type: 'string', default: '8' },
    context: { type: 'string', default: '128' },
    rounds: { type: 'string', default: '15' },
    bits: { type: 'string', default: '16' },
    threads: { type: 'string', default: String(os.availableParallelism()) },
  },
});
const [batch, context, rounds] = [Number(flags.batch), Number(flags.context), Number(flags.rounds)];
const adapterBits = flags.bits === '8' ? 8 : 16;

const queryValue: readonly TargetModule[] = ['q_proj', 'v_proj'];
const all: readonly TargetModule[] = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];

type Work = { readonly r: number; readonly modules: readonly TargetModule[]; readonly popularity: Popularity };
/**
 * Adapters of the rows: all different; half of the rows on one, a quarter on the next, and so on (Punica's skewed); all
 * the same.
 */
type Popularity = 'distinct' | 'skewed' | 'identical';

const works: readonly Work[] = [
  ...[8, 16, 64].map((r) => ({ r, modules: queryValue, popularity: 'distinct' as const })),
  ...[4, 8, 16, 32].map((r) => ({ r, modules: all, popularity: 'distinct' as const })),
  ...(['skewed', 'identical'] as const).map((popularity) => ({ r: 16, modules: all, popularity })),
];

const { config } = loadConfig(flags.model === undefined ? {} : { model: flags.model });
const files = await resolveModel(config.model, { ...modelSources(config), log: console.error });
const { model } = await loadWeights(files, null, join(config.dataDir, 'weights'), console.warn);
const runtime = createOnnxRuntime({ library: null, threads: Number(flags.threads), spin: true });
const stepsMax = 2 * rounds * works.length + 64;
const decoder = createDecoder(runtime, model, {
  rows: batch,
  positions: context + stepsMax,
  pages: 8 * batch,
  adapterBits,
});
await decoder.prepare(null);

const rows = Array.from({ length: batch }, (_, row) => row);
for (const row of rows) {
  const tokens = Array.from({ length: context }, (_, i) => 1000 + ((row * 7919 + i * 104_729) % 30_000));
  await decoder.forward(evenBatch({ kind: 'prompt', first: row, pasts: [0], tokens, sampled: [context - 1] }));
}

type Row = Work & { readonly kept: Spread; readonly baseMs: number; readonly mixedMs: number };
const results: Row[] = [];
for (const work of works) results.push(await measure(work));
report();
process.exit(0);

async function measure(work: Work): Promise<Row> {
  const adapters = await Promise.all(rows.map((row) => adapterOf(work, row)));
  const base: number[] = [];
  const mixed: number[] = [];
  for (let round = -2; round < rounds; round++) {
    const times = [await step([]), await step(adapters)];
    // The first rounds make bindings and touch pages.
    if (round < 0) continue;
    base.push(times[0]!);
    mixed.push(times[1]!);
  }
  for (const { placement } of adapters) decoder.pages.release(placement);
  const kept = spread(base.map((ms, round) => ms / mixed[round]!));
  return { ...work, kept, baseMs: spread(base).median, mixedMs: spread(mixed).median };
}

async function adapterOf({ r, modules, popularity }: Work, row: number): Promise<RowAdapter> {
  const seed = { distinct: row, skewed: Math.floor(Math.log2(batch / (batch - row))), identical: 0 }[popularity];
  const whole = randomAdapter(model.shape, { seed, r, modules });
  const adapter = adapterBits === 8 ? await codedAdapter(whole, model.shape, createBreath(systemClock)) : whole;
  const placement = decoder.pages.place(adapter);
  if (placement === null) throw new Error('the adapters do not fit');
  return { adapter, placement, scale: 1 };
}

/** Milliseconds of one decode step. Every step has the same positions. */
async function step(adapters: readonly RowAdapter[]): Promise<number> {
  for (const { placement } of adapters) await placement.copied;
  const start = systemClock.monotonic();
  const pasts = rows.map(() => context);
  await decoder.forward(
    evenBatch({ kind: 'answer', first: 0, pasts, tokens: rows.map(() => 1234), sampled: rows, adapters }),
  );
  return systemClock.monotonic() - start;
}

function report(): void {
  const machine = describeMachine();
  const date = new Date(systemClock.now()).toISOString();
  console.log(
    `\n${machine.cpu}, ${flags.threads} threads, ${batch} rows at ${context} tokens, ` +
      `adapters of ${adapterBits} bits, commit ${machine.commit}\n`,
  );
  console.log('| r | modules | adapters | base step, ms | mixed step, ms | kept of the base (min to max) |');
  console.log('| --- | --- | --- | --- | --- | --- |');
  for (const { r, modules, popularity, baseMs, mixedMs, kept } of results) {
    const cells = [r, modules === all ? 'all' : 'q, v', popularity, baseMs.toFixed(1), mixedMs.toFixed(1)];
    console.log(`| ${[...cells, showSpread(kept)].join(' | ')} |`);
  }
  const folder = new URL('results/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  const file = new URL(`${date.slice(0, 10)}-adapters-${batch}${adapterBits === 8 ? '-of-8-bits' : ''}.json`, folder);
  writeFileSync(file, `${JSON.stringify({ date, machine, batch, context, rounds, adapterBits, results }, null, 2)}\n`);
  console.log(`\nwritten to ${file.pathname}`);
}
