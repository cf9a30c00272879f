// Runs on the processor: one run of one graph takes all sequences that compute with a model's weights, each with as
// many tokens as it has. Pools are tied to a binding once; a run writes ids, lengths, lists of blocks and tables of
// pages, and ties those anew whose size changed. So steps that only decode tie nothing.

import type { Activations, ModelShape } from '../../core/base-model.ts';
import { decoderNames } from '../../graph/decoder.ts';
import type { Binding, Runtime, Session } from '../../runtime/session.ts';
import type { KvCache, KvRange } from '../kv/kv-cache.ts';
import { adaptedRows, type TiedAdapters } from './adapter-runs.ts';
import type { Compute, SampledLogits } from './compute.ts';
import type { DecoderModels } from './decoder-models.ts';
import { type ForwardBatch, resultWidth, sampledCount, type TokenKind } from './forward-batch.ts';
import type { GivenRow, GivenRows } from './given-rows.ts';
import type { HostRuns } from './host-runs.ts';
import { graphKey } from './model-sessions.ts';
import { createSender, type Sender } from './sender.ts';

export type HostComputeParts = {
  readonly shape: ModelShape;
  readonly kv: KvCache;
  readonly runs: HostRuns;
  readonly givenRows: GivenRows;
  readonly models: DecoderModels;
  readonly activations: Readonly<Record<TokenKind, Activations>>;
};

type TiedRun = {
  readonly binding: Binding;
  readonly sender: Sender;
  readonly adapters: TiedAdapters | null;
  release(): void;
};

export function createHostCompute(runtime: Runtime, parts: HostComputeParts): Compute {
  const { shape, kv, runs, givenRows, models, activations } = parts;
  const { vocabulary } = shape;
  /** By model, then by graph. */
  const tied = new Map<number, Map<string, TiedRun>>();
  const dropModel = (id: number) => {
    for (const run of tied.get(id)?.values() ?? []) run.release();
    tied.delete(id);
  };

  const compute = async (batch: ForwardBatch, results: Float32Array<ArrayBuffer>): Promise<void> => {
    const { parts, result = 'logits', aside = false } = batch;
    for (const { adapter } of parts) await adapter?.placement.copied;
    const merged = batch.merged ?? null;
    const model = models.of(merged);
    const form = runs.form(parts, merged !== null);
    const rowsGiven = givenRows(batch);
    const given = rowsGiven.length > 0;
    const session = await model.sessions.of(form, { result, given });
    const tie = (range: KvRange) => tieRun(runtime, session, range, shape.layers, (of) => runs.tie(of, form, result));
    const width = resultWidth(shape, result);
    const known = (range: KvRange) => {
      const ofModel = tied.get(model.id) ?? new Map<string, TiedRun>();
      tied.set(model.id, ofModel);
      const key = graphKey(form, result, given);
      const run = ofModel.get(key) ?? tie(range);
      ofModel.set(key, run);
      return run;
    };
    const pasts = parts.map(({ past }) => past);
    const added = parts.map(({ past, to }) => to - past);
    const rows = parts.map(({ row }) => row);
    await kv.use(rows, pasts, added, async (range) => {
      const run = aside ? tie(range) : known(range);
      try {
        sendBatch(run.sender, batch, range.blocks!, activations);
        if (given) sendGiven(run.sender, rowsGiven, shape);
        run.sender.receive({ name: decoderNames[result], data: results, shape: [results.length / width, width] });
        run.adapters?.write(adaptedRows(batch));
        await session.run(run.binding, { aside });
      } finally {
        if (aside) run.release();
      }
    });
  };

  const forward = async (asked: ForwardBatch): Promise<Float32Array> => {
    const width = resultWidth(shape, asked.result ?? 'logits');
    const count = sampledCount(asked) * width;
    // A run gives some rows in any case.
    const batch = count > 0 ? asked : withOne(asked);
    const length = Math.max(count, width);
    const results = asked.aside ? new Float32Array(length) : models.of(asked.merged ?? null).logits(length);
    await compute(batch, results);
    return results.subarray(0, count);
  };
  return {
    forward,
    logitsOf: async (batch) => rowsOf(await forward(batch), vocabulary),
    dropModel,
  };
}

const withOne = (batch: ForwardBatch): ForwardBatch => {
  const parts = batch.parts.map((part, i) => (i === 0 ? { ...part, sampled: [part.to - 1] } : part));
  return { ...batch, parts };
};

/** Each row as it is. */
export function rowsOf(logits: Float32Array, vocabulary: number): SampledLogits {
  const count = logits.length / vocabulary;
  const rows = Array.from({ length: count }, (_, i) => logits.subarray(i * vocabulary, (i + 1) * vocabulary));
  return { rows, whole: async (wanted) => wanted.map((row) => rows[row]!) };
}

function tieRun(
  runtime: Runtime,
  session: Session,
  range: KvRange,
  layers: number,
  tieAdapters: (binding: Binding) => TiedAdapters | null,
): TiedRun {
  const binding = session.bind();
  const pools = Array.from({ length: layers }, (_, layer) => {
    const [key, value] = [range.key(layer), range.value(layer)];
    binding.input(decoderNames.key(layer), key);
    binding.input(decoderNames.value(layer), value);
    return [key, value];
  }).flat();
  const adapters = tieAdapters(binding);
  const sender = createSender(runtime, binding);
  return {
    ...{ binding, sender, adapters },
    release() {
      sender.release();
      adapters?.release();
      for (const tensor of pools) tensor.release();
      binding.release();
    },
  };
}

/** Ids, and what says how long sequences are, where they lie and which rows are rounded to 8 bits. */
function sendBatch(
  sender: Sender,
  { parts }: ForwardBatch,
  blocks: readonly (readonly number[])[],
  activations: Readonly<Record<TokenKind, Activations>>,
): void {
  const lengths = parts.map(({ past, to }) => to - past);
  const rows = lengths.reduce((sum, length) => sum + length, 0);
  const most = Math.max(...blocks.map(({ length }) => length));
  const names = decoderNames;
  const integers = (name: string, ...shape: number[]) =>
    sender.memory(name, shape, () => new Int32Array(shape.reduce((product, length) => product * length, 1)));
  const ids = sender.memory(names.tokens, [rows], () => new BigInt64Array(rows));
  const ends = integers(names.cumulative, parts.length + 1);
  const pasts = integers(names.past, parts.length);
  // A power of two of columns changes seldom.
  const columns = 2 ** Math.ceil(Math.log2(most));
  const table = integers(names.table, parts.length, columns);
  const sampled: bigint[] = [];
  let [at, coarse, coarseSampled] = [0, 0, 0];
  for (const [i, { past, to, tokens, kind, sampled: wanted }] of parts.entries()) {
    ends[i] = at;
    pasts[i] = past;
    table.set(blocks[i]!, i * columns);
    for (const position of wanted) sampled.push(BigInt(at + position - past));
    // Where an embedding is given the token's own is read and written over.
    for (let position = past; position < to; position++) ids[at++] = BigInt(Math.max(0, tokens[position]!));
    if (activations[kind] !== 'int8') continue;
    if (coarse < at - (to - past)) throw new Error('what is rounded to 8 bits comes first');
    coarse = at;
    coarseSampled = sampled.length;
  }
  ends[parts.length] = at;
  sender.memory(names.sampled, [sampled.length], () => new BigInt64Array(sampled.length)).set(sampled);
  integers(names.coarse, 1)[0] = coarse;
  integers(names.coarseSampled, 1)[0] = coarseSampled;
}

function sendGiven(sender: Sender, rows: readonly GivenRow[], { hidden }: ModelShape): void {
  const { given, givenRows } = decoderNames;
  const values = sender.memory(given, [rows.length, hidden], () => new Float32Array(rows.length * hidden));
  const places = sender.memory(givenRows, [rows.length, 1], () => new BigInt64Array(rows.length));
  for (const [i, { at, write }] of rows.entries()) {
    write(values.subarray(i * hidden, (i + 1) * hidden));
    places[i] = BigInt(at);
  }
}
