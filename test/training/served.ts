// Log-probabilities of rows with an adapter from disk by the engine, and by the trainer's forward pass: the same
// weights in two graphs.

import type { AdapterFiles } from '../../src/core/adapter.ts';
import { systemClock } from '../../src/core/clock.ts';
import { createBreath } from '../../src/engine/adapters/breath.ts';
import { readAdapter } from '../../src/engine/adapters/read-adapter.ts';
import { createDecoder } from '../../src/engine/runner/decoder.ts';
import { evenBatch } from '../../src/engine/runner/forward-batch.ts';
import type { LoweredModel } from '../../src/graph/lowered.ts';
import type { Runtime } from '../../src/runtime/session.ts';
import { graphObjective } from '../../src/training/graph-objective.ts';
import { microBatch } from '../../src/training/micro-batch.ts';
import { packRows } from '../../src/training/packing.ts';
import type { StartingPoint } from '../../src/training/starting-point.ts';
import type { TokenRow } from '../../src/training/token-row.ts';

const lengthOf = ({ tokens }: TokenRow) => tokens.length;

/** Log-probabilities of all targets, row by row, by the engine's prefill. */
export async function servedLogprobs(
  runtime: Runtime,
  model: LoweredModel,
  files: AdapterFiles,
  rows: readonly TokenRow[],
): Promise<number[]> {
  const decoder = createDecoder(runtime, model, { rows: 2, positions: Math.max(...rows.map(lengthOf)), pages: 64 });
  const adapter = await readAdapter(files, { model, breath: createBreath(systemClock) });
  const placement = decoder.pages.place(adapter)!;
  await placement.copied;
  const found: number[] = [];
  for (const { tokens, counted } of rows) {
    const sampled = [...counted.keys()].filter((index) => counted[index] === 1).map((index) => index - 1);
    const logits = await decoder.forward(
      evenBatch({
        ...{ kind: 'prompt', first: 0, pasts: [0], tokens: [...tokens], sampled },
        adapters: [{ adapter, scale: 1, placement }],
      }),
    );
    for (const [i, index] of sampled.entries()) {
      const row = logits.subarray(i * decoder.vocabulary, (i + 1) * decoder.vocabulary);
      found.push(row[tokens[index + 1]!]! - logSumExp(row));
    }
  }
  decoder.pages.release(placement);
  await decoder.release();
  return found;
}

/** The same by the trainer, with rows packed `tokensMax` at a time. */
export async function trainedLogprobs(
  runtime: Runtime,
  model: LoweredModel,
  { targets, values }: StartingPoint,
  rows: readonly TokenRow[],
  tokensMax: number,
): Promise<number[]> {
  const objective = await graphObjective(runtime, model, {
    ...{ targets, values, positions: Math.max(...rows.map(lengthOf)), dropout: 0, recompute: false },
  });
  const byRow: number[][] = rows.map(() => []);
  for (const packed of packRows(rows.map(lengthOf), tokensMax)) {
    const logprobs = [...(await objective.logprobs(microBatch(packed, rows)))];
    for (const row of packed.lines.flat()) {
      byRow[row] = logprobs.splice(0, rows[row]!.counted.filter((mark) => mark === 1).length);
    }
  }
  await objective.release();
  return byRow.flat();
}

function logSumExp(values: Float32Array): number {
  const most = values.reduce((a, b) => Math.max(a, b));
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}
