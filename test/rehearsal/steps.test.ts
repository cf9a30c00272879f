// What decode steps ask of a card, by ONNX Runtime's real CUDA provider on a card that is not there
// (scripts/rehearse-cuda.js): launches and copies do not grow with adapters, and steps that come again are one replay.
// Values are garbage and nobody looks at them.

import assert from 'node:assert/strict';
import test from 'node:test';
import type { ModelShape } from '../../src/core/base-model.ts';
import { systemClock } from '../../src/core/clock.ts';
import { prng } from '../../src/core/prng.ts';
import { createBreath } from '../../src/engine/adapters/breath.ts';
import { readAdapter } from '../../src/engine/adapters/read-adapter.ts';
import { joinedSizes } from '../../src/engine/adapters/resident-adapter.ts';
import type { RowAdapter } from '../../src/engine/adapters/row-adapter.ts';
import { createDecoder, type Decoder } from '../../src/engine/runner/decoder.ts';
import { evenRows } from '../../src/engine/runner/even-steps.ts';
import { type BatchPart, evenBatch } from '../../src/engine/runner/forward-batch.ts';
import type { JoinedLinear } from '../../src/graph/adapted-linear.ts';
import { everyModule, layerModules, randomAdapter } from '../engine/adapters/random-adapters.ts';
import { testRuntime } from '../helpers/test-runtime.ts';
import { tinyLowered } from '../helpers/tiny-lowered.ts';
import { createLogReader, skip } from './card-log.ts';

const rows = 8;

/** What was asked since the last call. */
function createReader() {
  const read = createLogReader();
  return () => {
    const lines = read();
    const count = (start: string) => lines.filter((line) => line.startsWith(start)).length;
    const unknown = lines.filter((line) => line === 'launch ?');
    assert.deepEqual(unknown, [], 'a kernel that nobody registered');
    const elsewhere = lines.filter((line) => line.endsWith(' elsewhere'));
    assert.deepEqual(elsewhere, [], 'on another stream than the recorded one');
    const bytesIn = lines.reduce((sum, line) => sum + Number(/^copy in (\d+)$/.exec(line)?.[1] ?? 0), 0);
    return {
      ...{ launches: count('launch '), copies: count('copy '), bytesIn, waits: count('wait') },
      ...{
        recorded: lines.filter((line) => line === 'record').length,
        replays: count('replay'),
        taken: count('take '),
        flash: lines.filter((line) => line.includes('flash_fwd')).length,
        made: count('make'),
      },
    };
  };
}

/** Memory is cleared before the first thing that is done with it. */
async function clearedOnce(decoder: Decoder): Promise<void> {
  await decoder.forward(evenBatch({ kind: 'prompt', first: 0, pasts: [0], tokens: [1, 2], sampled: [1] }));
}

/** A and B of every part in each layer. */
const placesOf = (shape: ModelShape, linears: Iterable<JoinedLinear>) => {
  const touched = new Set(linears);
  return joinedSizes(shape).reduce(
    (sum, { linear, layers, outs }) => sum + (touched.has(linear) ? 2 * layers * outs.length : 0),
    0,
  );
};

const cases = [
  { bits: 32, inBlocks: false },
  { bits: 4, inBlocks: false },
  { bits: 32, inBlocks: true },
] as const;
const toldOf = (inBlocks: boolean) => (inBlocks ? 'in blocks' : 'in rows');

for (const { bits, inBlocks } of cases) {
  test(`steps on a card, ${bits} bits, ${toldOf(inBlocks)}`, { skip }, async () => {
    const model = await tinyLowered('llama-gguf', bits);
    const breath = createBreath(systemClock);
    const adapters = await Promise.all(
      Array.from({ length: rows }, async (_, seed) => {
        const modules = seed === 7 ? everyModule : layerModules;
        const { files } = randomAdapter(model.shape, { seed: seed + 1, modules, r: [1, 8, 16, 64][seed % 4]! });
        return readAdapter(files, { model, breath });
      }),
    );
    /** Launches and copies of a step by who reads what, once its shapes are known; and of the sixth such step. */
    const measure = async (deviceKernels: 'own' | 'recorded') => {
      const runtime = testRuntime({ deviceKernels, strict: true, runsBefore: 2, inBlocks });
      assert.ok(runtime.device?.hasOperators, 'the kernels do not compile');
      const decoder = createDecoder(runtime, model, { rows, positions: 64, pages: 64 });
      await clearedOnce(decoder);
      const asked = createReader();
      asked();
      const placed = adapters.map(
        (adapter): RowAdapter => ({ adapter, scale: 1, placement: decoder.pages.place(adapter)! }),
      );
      for (const { placement } of placed) await placement.copied;
      const sent = asked();
      // Two bytes a value, and an address a place: nothing of an adapter goes over the bus as floats.
      const pageBytes = decoder.pages.takeCopiedBytes();
      const places = adapters.reduce((sum, { linears }) => sum + placesOf(model.shape, linears.keys()), 0);
      assert.equal(sent.bytesIn, pageBytes + 8 * places);
      const step = async (who: readonly (RowAdapter | null)[]) => {
        const batch = { kind: 'answer' as const, first: 0, pasts: who.map(() => 9), tokens: who.map((_, i) => i) };
        const counts = [];
        for (let i = 0; i < 6; i++) {
          asked();
          await decoder.logitsOf(
            evenBatch({ ...batch, sampled: who.map((_, i) => i), adapters: who }),
            who.map(() => 0),
          );
          counts.push(asked());
        }
        return counts;
      };
      for (const first of placed.keys()) {
        const prompt = { kind: 'prompt' as const, first, pasts: [0], tokens: [1, 2, 3], sampled: [2] };
        await decoder.forward(evenBatch({ ...prompt, adapters: [placed[7]!] }));
      }
      const nobody = new Array<null>(rows).fill(null);
      const found = {
        base: await step(nobody),
        one: await step(nobody.map(() => placed[0]!)),
        many: await step(placed.slice(0, 7).concat(placed[3]!)),
        head: await step(placed),
      };
      await decoder.release();
      return found;
    };
    const own = await measure('own');
    const [base, one, many] = [own.base, own.one, own.many].map((counts) => counts.at(-1)!) as [
      ...[(typeof own.base)[0], (typeof own.base)[0], (typeof own.base)[0]],
    ];
    const linears = 4 * model.shape.layers;
    assert.equal(one.launches, base.launches + linears, 'one launch a joined linear');
    assert.equal(many.launches, one.launches);
    assert.equal(many.copies, base.copies);
    assert.equal(own.head.at(-1)!.copies, base.copies);
    assert.ok(own.head.at(-1)!.launches >= many.launches + 1);

    for (const counts of Object.values(await measure('recorded'))) {
      const last = counts.at(-1)!;
      // The step, and the choice of tokens.
      assert.equal(last.replays, 2);
      assert.equal(last.launches, 0);
      assert.ok(last.copies <= base.copies + 2, `${last.copies} copies for ${base.copies}`);
    }
  });
}

test('prompts and answers over blocks are one run, which asks the card for nothing meanwhile', { skip }, async () => {
  const model = await tinyLowered('llama-gguf', 32);
  const runtime = testRuntime({ deviceKernels: 'own', strict: true, runsBefore: 2, inBlocks: true });
  const { layers } = model.shape;
  const decoder = createDecoder(runtime, model, { rows, positions: 1024, pages: 8 });
  await clearedOnce(decoder);
  const asked = createReader();
  const part = (row: number, past: number, to: number): BatchPart => {
    const tokens = Array.from({ length: to }, (_, i) => i % 200);
    return { row, past, to, tokens, kind: to - past > 1 ? 'prompt' : 'answer', sampled: [to - 1], adapter: null };
  };
  await decoder.logitsOf({ parts: [part(0, 2, 3)] }, [0]);
  asked();
  const one = await decoder.logitsOf({ parts: [part(0, 3, 4)] }, [0]).then(asked);
  // Prompts of one block, of three, and a piece that begins within a block.
  const parts = [part(0, 4, 5), part(1, 0, 30), part(2, 0, 700), part(3, 0, 300)];
  const many = await decoder.logitsOf({ parts }, [0, 0, 0, 0]).then(asked);
  const pieces = await decoder.logitsOf({ parts: [part(0, 5, 6), part(3, 300, 320)] }, [0, 0]).then(asked);
  // In place: nothing is copied out of blocks first.
  assert.deepEqual([one.flash, many.flash, pieces.flash], [layers, layers, layers]);
  // Sums of many rows take other products; attention takes what it takes of one row.
  assert.ok(many.launches <= one.launches + 2 * layers && pieces.launches <= one.launches + 2 * layers);
  assert.deepEqual([many.waits, pieces.waits], [one.waits, one.waits], 'it waits for the card');
  await decoder.release();
});

for (const inBlocks of [false, true]) {
  test(`sequences join and leave ${toldOf(inBlocks)}: recorded once a size, and nothing is taken or made any more`, {
    skip,
  }, async () => {
    const model = await tinyLowered('llama-gguf', 32);
    const breath = createBreath(systemClock);
    const runtime = testRuntime({ deviceKernels: 'recorded', strict: true, runsBefore: 2, inBlocks });
    const slots = 24;
    const decoder = createDecoder(runtime, model, { rows: slots, positions: 256, pages: 64 });
    const adapters = await Promise.all(
      Array.from({ length: 3 }, async (_, i) => {
        const { files } = randomAdapter(model.shape, { seed: i + 1, modules: layerModules, r: 8 * 2 ** i });
        return readAdapter(files, { model, breath });
      }),
    );
    const placed = adapters.map(
      (adapter): RowAdapter => ({ adapter, scale: 1, placement: decoder.pages.place(adapter)! }),
    );
    for (const { placement } of placed) await placement.copied;
    const random = prng(7);
    const below = (count: number) => Math.floor(random() * count);
    type Row = { row: number; past: number; who: RowAdapter | null };
    const running: Row[] = [];
    const asked = createReader();
    const seen = { settled: 0, recorded: 0, joined: 0, left: 0, taken: 0 };
    /** How often each came. */
    const sizes = new Map<string, number>();
    const came = (kind: string) => {
      const before = sizes.get(kind) ?? 0;
      sizes.set(kind, before + 1);
      return before;
    };
    const turn = async (isLate: boolean) => {
      if (running.length < 20 && below(2) === 0) {
        const first = Array.from({ length: slots }, (_, row) => row).find((row) =>
          running.every((one) => one.row !== row),
        )!;
        const row = { row: first, past: 0, who: [null, ...placed][below(4)]! };
        const tokens = Array.from({ length: 20 }, () => below(200));
        running.push(row);
        asked();
        const batch = { kind: 'prompt' as const, first, pasts: [0], tokens, sampled: [19], adapters: [row.who] };
        await decoder.forward(evenBatch(batch));
        const prompt = asked();
        row.past = 20;
        seen.joined++;
        const hasCome = came(`prompt ${row.who && adapters.indexOf(row.who.adapter)}`) > 1;
        // What is recorded keeps memory that runs shared: the next ones may take some more.
        if (isLate && hasCome) seen.taken += prompt.taken;
      }
      const count = running.length;
      asked();
      const parts = running.map(({ row, past, who }): BatchPart => {
        const tokens = new Array<number>(past);
        tokens.push(below(200));
        return { row, past, to: past + 1, tokens, kind: 'answer', sampled: [past], adapter: who };
      });
      await decoder.logitsOf(
        { parts },
        running.map(() => 0),
      );
      const step = asked();
      for (const row of running) row.past++;
      seen.recorded += step.recorded;
      const most = Math.max(0, ...running.map(({ who }) => (who ? adapters.indexOf(who.adapter) + 1 : 0)));
      if (came(`${evenRows(count)} ${most}`) > 2) {
        seen.settled++;
        assert.deepEqual([step.recorded, step.replays, step.launches, step.taken, step.made], [0, 2, 0, 0, 0]);
      }
      const full = running.findIndex(({ past }) => past > 200);
      if (running.length > 1 && (full >= 0 || below(2) === 0)) {
        const gone = full >= 0 ? full : below(running.length);
        seen.left++;
        decoder.kv.clear(running.splice(gone, 1)[0]!.row);
      }
    };
    await decoder.forward(evenBatch({ kind: 'prompt', first: 0, pasts: [0], tokens: [1], sampled: [0] }));
    running.push({ row: 0, past: 1, who: null });
    for (let i = 0; i < 300; i++) await turn(i >= 200);
    assert.ok(seen.joined > 50 && seen.left > 50 && seen.settled > 200, JSON.stringify(seen));
    assert.ok(seen.taken <= 8, `${seen.taken} pieces of memory`);
    // For each size the step, and the choice of tokens, which knows no adapters.
    const kinds = [...sizes.keys()].filter((kind) => !kind.startsWith('prompt'));
    assert.ok(kinds.length > 8 && seen.recorded <= 2 * kinds.length, `${seen.recorded} recorded for ${kinds}`);
    await decoder.release();
  });
}
