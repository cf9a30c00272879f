// Runs over blocks: one run of one graph takes all sequences that compute with a model's weights, each with any number
// of tokens. Pools are bound once; a run writes ids, lengths, lists of blocks and tables of pages, and binds anew only
// those whose size changed. So steps that only decode bind nothing.
//
// On a device the logits stay there and the best of them come back. Where steps are recorded, steps that only decode
// take idle rows along, so that the number of rows is one of a few.

import type { ModelShape } from '../../core/base-model.ts';
import { decoderNames } from '../../graph/decoder.ts';
import type { Binding, Runtime, Session } from '../../runtime/session.ts';
import type { KvCache, KvRange } from '../kv/kv-cache.ts';
import { adaptedRows, type TiedAdapters } from './adapter-runs.ts';
import type { BlockInputs } from './block-inputs.ts';
import type { BlockRuns } from './block-runs.ts';
import type { Compute, SampledLogits } from './compute.ts';
import type { DecoderModels } from './decoder-models.ts';
import type { DeviceLogits } from './device-logits.ts';
import { evenRows, withIdleRows } from './even-steps.ts';
import { type ForwardBatch, resultWidth, sampledCount } from './forward-batch.ts';
import type { GivenRow, GivenRows } from './given-rows.ts';
import { type LogitsPlace, resultsIn } from './logits-place.ts';
import { graphKey } from './model-sessions.ts';
import { createSender, type Sender } from './sender.ts';

export type BlockComputeParts = {
  readonly shape: ModelShape;
  readonly kv: KvCache;
  readonly runs: BlockRuns;
  readonly models: DecoderModels;
  readonly inputs: BlockInputs;
  /** Gives rows with embeddings of their own; null where every row has its token's. */
  readonly givenRows: GivenRows | null;
  /** Where logits stay on a device; null where they come back whole. */
  readonly logits: DeviceLogits | null;
};

type TiedRun = {
  readonly binding: Binding;
  readonly sender: Sender;
  readonly adapters: TiedAdapters | null;
  release(): void;
};

export function createBlockCompute(runtime: Runtime, compute: BlockComputeParts): Compute {
  const { shape, kv, runs, models, inputs, givenRows, logits: onDevice } = compute;
  const { vocabulary } = shape;
  const records = runtime.device?.records ?? false;
  /** Bound runs by id of the model, then by graph. */
  const tied = new Map<number, Map<string, TiedRun>>();
  const dropModel = (id: number) => {
    for (const run of tied.get(id)?.values() ?? []) run.release();
    tied.delete(id);
  };

  const run = async (batch: ForwardBatch, place: LogitsPlace): Promise<void> => {
    const { parts, aside = false } = batch;
    const { result = 'logits' } = place;
    for (const { adapter } of parts) await adapter?.placement.copied;
    const merged = batch.merged ?? null;
    const model = models.of(merged);
    const form = runs.form(parts, merged !== null);
    const rowsGiven = givenRows?.(batch) ?? [];
    const given = rowsGiven.length > 0;
    const steady = records && place.stays && decodes(batch);
    const session = await model.sessions.of(form, { result, given });
    const tie = (range: KvRange) => tieRun(runtime, session, range, shape.layers, (of) => runs.tie(of, form, result));
    const known = (range: KvRange) => {
      const ofModel = tied.get(model.id) ?? new Map<string, TiedRun>();
      tied.set(model.id, ofModel);
      // A card's recording of a binding is lost where the binding's results move, so steady steps have bindings of
      // their own.
      const key = `${graphKey(form, result, given)}${steady ? ` ${parts.length}` : ''}`;
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
        inputs(run.sender, batch, range.blocks!);
        if (given) sendGiven(run.sender, rowsGiven, shape);
        run.sender.leave(decoderNames[result], place, sampledCount(batch));
        run.adapters?.write({ ...adaptedRows(batch), steady });
        await session.run(run.binding, { aside, steady });
      } finally {
        if (aside) run.release();
      }
    });
  };

  const forward = async (asked: ForwardBatch): Promise<Float32Array> => {
    const { result = 'logits' } = asked;
    const width = resultWidth(shape, result);
    const count = sampledCount(asked) * width;
    // Every run gives results of at least one row.
    const batch = count > 0 ? asked : withOne(asked);
    const length = Math.max(count, width);
    const results = asked.aside ? new Float32Array(length) : models.of(asked.merged ?? null).logits(length);
    await run(runtime.device ? withCompany(batch) : batch, resultsIn(runtime, results, result));
    return results.subarray(0, count);
  };
  return {
    forward,
    logitsOf: onDevice
      ? logitsOnDevice(onDevice, { run, forward, records })
      : async (batch) => rowsOf(await forward(batch), vocabulary),
    dropModel,
  };
}

type Runs = {
  run(batch: ForwardBatch, place: LogitsPlace): Promise<void>;
  readonly forward: Compute['forward'];
  readonly records: boolean;
};

function logitsOnDevice(place: DeviceLogits, { run, forward, records }: Runs): Compute['logitsOf'] {
  /** The best logits of each sampled row; these rows are the first of `all` rows of logits on the device. */
  const bestOf = async (batch: ForwardBatch, temperatures: readonly number[]) => {
    const { length: count } = temperatures;
    if (count === 0) {
      if (batch.parts.length > 0) await forward(batch);
      return { best: [], all: 0 };
    }
    const all = records && decodes(batch) ? Math.min(evenRows(count), place.rows) : count;
    await run(all > count ? withIdleRows(batch, all - count, true) : withCompany(batch), place);
    const best = await place.top([...temperatures, ...new Array<number>(all - count).fill(0)]);
    return { best: best.slice(0, count), all };
  };
  return async (batch, temperatures) => {
    const those = (asked: boolean) => batch.parts.filter(({ whole = false }) => whole === asked);
    const [apart, together] = [
      { ...batch, parts: those(true) },
      { ...batch, parts: those(false) },
    ] as const;
    // Drawing from the best logits and drawing from all differ. A row must be drawn in the same way whatever runs
    // beside it.
    const isWhole = batch.parts.flatMap(({ sampled, whole = false }) => sampled.map(() => whole));
    const wholeRows = apart.parts.length > 0 ? rowsOf((await forward(apart)).slice(), place.vocabulary).rows : [];
    const ofBest = temperatures.filter((_, row) => !isWhole[row]);
    const { best, all } = await bestOf(together, ofBest);
    let [wholeCount, bestCount] = [0, 0];
    const places = isWhole.map((whole) => (whole ? wholeCount++ : bestCount++));
    return {
      rows: isWhole.map((whole, row) => (whole ? wholeRows : best)[places[row]!]!),
      whole: (wanted) =>
        place.whole(
          wanted.map((row) => places[row]!),
          all,
        ),
    };
  };
}

const withOne = (batch: ForwardBatch): ForwardBatch => {
  const parts = batch.parts.map((part, i) => (i === 0 ? { ...part, sampled: [part.to - 1] } : part));
  return { ...batch, parts };
};

/** Whether every part is one token of an answer: such a step comes again. */
const decodes = ({ parts }: ForwardBatch): boolean =>
  parts.every(({ kind, past, to, sampled }) => kind === 'answer' && to - past === 1 && sampled.length === 1);

/**
 * A device's products sum a lone token of a prompt in another order than one among many, so it gets an idle row beside
 * it.
 */
function withCompany(batch: ForwardBatch): ForwardBatch {
  const [{ kind, past, to }, ...others] = batch.parts as [ForwardBatch['parts'][number]];
  return kind === 'prompt' && to - past === 1 && others.length === 0 ? withIdleRows(batch, 1, false) : batch;
}

/** Gives every row of `logits` whole, without looking for its best tokens. */
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

function sendGiven(sender: Sender, rows: readonly GivenRow[], { hidden }: ModelShape): void {
  const { given, givenRows } = decoderNames;
  const values = sender.memory(given, [rows.length, hidden], () => new Float32Array(rows.length * hidden));
  const places = sender.memory(givenRows, [rows.length, 1], () => new BigInt64Array(rows.length));
  for (const [i, { at, write }] of rows.entries()) {
    write(values.subarray(i * hidden, (i + 1) * hidden));
    places[i] = BigInt(at);
  }
}
