// The KV cache of a device in blocks: runs of prompts, pieces and answers together give the host's logits, and neither
// the prefix cache nor preemptions change a token. The device is the processor in a device's role, or a card that keeps
// blocks (LORIKEET_TEST_IN_BLOCKS=on).

import assert from 'node:assert/strict';
import test from 'node:test';
import { systemClock } from '../../../src/core/clock.ts';
import { kvTokenBytes } from '../../../src/core/memory-plan.ts';
import { kvBlock } from '../../../src/core/page-sizes.ts';
import { prng } from '../../../src/core/prng.ts';
import { AdapterStore } from '../../../src/engine/adapters/adapter-store.ts';
import { createBreath } from '../../../src/engine/adapters/breath.ts';
import { combineAdapters } from '../../../src/engine/adapters/combine-adapters.ts';
import { readAdapter } from '../../../src/engine/adapters/read-adapter.ts';
import type { RowAdapter } from '../../../src/engine/adapters/row-adapter.ts';
import { assertBlocks } from '../../../src/engine/open-device.ts';
import { createDecoder, type Decoder } from '../../../src/engine/runner/decoder.ts';
import { targetOf } from '../../../src/engine/runner/device-target.ts';
import type { BatchPart } from '../../../src/engine/runner/forward-batch.ts';
import { asDevice, hostBeside, testRuntime } from '../../helpers/test-runtime.ts';
import { tinyLowered } from '../../helpers/tiny-lowered.ts';
import { everyModule, layerModules, randomAdapter } from '../adapters/random-adapters.ts';
import { type Witness, witnessedEngine } from '../witnesses.ts';

const opened = testRuntime();
const device = opened.device?.blocks ? opened : asDevice(hostBeside(opened), { inBlocks: true });
const breath = createBreath(systemClock);

const plans = [
  { seed: 1, modules: layerModules, r: 16 },
  { seed: 2, modules: ['q_proj', 'v_proj'], r: 1 },
  { seed: 7, modules: everyModule, r: 5, dora: true },
  { seed: 5, modules: everyModule, r: 9 },
] as const;

for (const name of ['llama-gguf', 'qwen3', 'gemma3', 'qwen2-window'] as const) {
  test(`${name}: prompts, pieces and answers in one run have the host’s logits, whoever reads what`, async (t) => {
    const rows = 6;
    const model = await tinyLowered(name, 32);
    const { shape } = model;
    const { length } = targetOf(device, shape).blocks!;
    const positions = 3 * length;
    const options = { rows, positions, pages: 24, decodeActivations: 'int16', kvType: 'float32' } as const;
    const pair = [createDecoder(hostBeside(device), model, options), createDecoder(device, model, options)] as const;
    const adapters = await Promise.all(
      plans.map(async (plan) => {
        const adapter = await readAdapter(randomAdapter(shape, plan).files, { model, breath });
        const scale = 'dora' in plan ? 1 : 0.5;
        const place = ({ pages }: Decoder): RowAdapter => ({ adapter, scale, placement: pages.place(adapter)! });
        return [place(pair[0]), place(pair[1])] as const;
      }),
    );
    const random = prng(3);
    const below = (end: number) => Math.floor(random() * end);
    const sequences = Array.from({ length: rows }, (_, row) => ({
      row,
      tokens: [] as number[],
      prompt: 1 + below(2 * length),
      computed: 0,
      who: [null, ...adapters][row % 5]!,
    }));
    let [largest, scale, ragged] = [0, 0, 0];
    for (let turn = 0; turn < 40; turn++) {
      const parts = sequences.flatMap((sequence): BatchPart[] => {
        const { row, tokens, prompt, computed } = sequence;
        if (below(3) === 0) return [];
        const isPrompt = computed < prompt;
        const count = isPrompt ? Math.min(prompt - computed, 1 + below(length)) : 1;
        while (tokens.length < computed + count) tokens.push(below(shape.vocabulary));
        const to = computed + count;
        sequence.computed = to;
        const sampled = isPrompt && to < prompt ? [] : [to - 1];
        return [{ row, past: computed, to, tokens, kind: isPrompt ? 'prompt' : 'answer', sampled, adapter: null }];
      });
      // Answers come first.
      parts.sort((a, b) => Number(a.kind === 'prompt') - Number(b.kind === 'prompt'));
      if (parts.length === 0) continue;
      ragged += Number(new Set(parts.map(({ past, to }) => to - past)).size > 1);
      const found: Float32Array[] = [];
      for (const [side, decoder] of pair.entries()) {
        const own = parts.map((part) => ({ ...part, adapter: sequences[part.row]!.who?.[side] ?? null }));
        found.push((await decoder.forward({ parts: own })).slice());
      }
      assert.equal(found[0]!.length, found[1]!.length);
      for (const [i, logit] of found[0]!.entries()) {
        // Written so that a NaN counts, which Math.max and `>` would lose.
        if (!(Math.abs(logit - found[1]![i]!) <= largest)) largest = Math.abs(logit - found[1]![i]!);
        scale = Math.max(scale, Math.abs(logit));
      }
      for (const sequence of sequences) {
        if (sequence.computed < positions - 1 && below(12) > 0) continue;
        for (const { kv } of pair) kv.clear(sequence.row);
        Object.assign(sequence, { tokens: [], computed: 0, prompt: 1 + below(2 * length) });
        sequence.who = [null, ...adapters][below(5)]!;
      }
    }
    t.diagnostic(`within ${(largest / scale).toExponential(1)} of the largest logit; ${ragged} ragged runs`);
    assert.ok(ragged > 10);
    assert.ok(largest / scale < (device.device!.real === 'float16' ? 0.03 : 1e-4), `${largest / scale}`);
    for (const decoder of pair) await decoder.release();
  });
}

test('a device without blocks, or with others, is refused by name', () => {
  const cuda = { ...device.device!, name: 'cuda:0', real: 'float16', blocks: 'runtime' } as const;
  assertBlocks(cuda, 'float16');
  const refused = (what: RegExp) => ({ code: 'invalid_config', param: 'LORIKEET_DEVICE_KV', message: what });
  assert.throws(() => assertBlocks(cuda, 'float32'), refused(/cuda:0 reads blocks of float16 alone, not of float32/));
  const webgpu = { ...device.device!, name: 'webgpu', blocks: null };
  assert.throws(() => assertBlocks(webgpu, 'float32'), refused(/webgpu keeps keys and values in rows/));
});

// The card's blocks are longer than these texts.
const skip = device.device!.blocks === 'own' ? false : 'blocks are long there';

test('known beginnings, and sequences that give way, change no token', { skip }, async () => {
  const model = await tinyLowered('llama-gguf', null);
  const blockBytes = kvTokenBytes(model.shape, 4) * kvBlock;
  const store = (clock: typeof systemClock, onChange: () => void) =>
    new AdapterStore({
      ...{ bytesMax: 2 ** 30, clock, onChange },
      read: ({ files }) => readAdapter(files, { model, breath, onDevice: true }),
      combine: (key, scaled) => combineAdapters(key, scaled, model.shape, breath),
    });
  const [scarce, plenty] = await Promise.all(
    [{ kvBytes: 9 * blockBytes, prefixBytes: 5 * blockBytes }, {}].map((memory) =>
      device.betweenRuns(() => {
        const decoder = createDecoder(device, model, { rows: 4, positions: 160, pages: 16, ...memory });
        return { decoder, engine: witnessedEngine(decoder, 48, store) };
      }),
    ),
  );
  const random = prng(17);
  const below = (end: number) => Math.floor(random() * end);
  const text = (length: number) => Array.from({ length }, () => below(model.shape.vocabulary));
  const systems = [text(70), text(100)];
  const adapters = [1, 2].map((seed) => ({
    files: randomAdapter(model.shape, { seed, modules: layerModules, r: 8, dora: seed === 2 }).files,
    scale: seed === 2 ? 1 : 0.5,
  }));
  const request = () => ({
    prompt: [...systems[below(2)]!.slice(0, below(101)), ...text(1 + below(30))],
    params: { maxTokens: 1 + below(20), temperature: below(2), seed: below(1000), logprobs: 2 },
    adapters: [[], [adapters[0]!], [adapters[1]!]][below(3)]!,
    share: { flow: below(2), weight: 1, priority: 1 },
    more: below(6) === 0 ? { promptLogprobs: 1 } : {},
    waits: below(3) === 0,
  });
  let cached = 0;
  for (let round = 0; round < 8 || cached < 500 || scarce!.engine.preemptions < 5; round++) {
    assert.ok(round < 100, `${cached} tokens were cached, ${scarce!.engine.preemptions} sequences gave way`);
    const requests = Array.from({ length: 10 }, request);
    const [found, expected] = await Promise.all(
      [scarce!, plenty!].map(async ({ engine }) => {
        const witnesses: Witness[] = [];
        for (const { prompt, params, adapters: applied, share, more, waits } of requests) {
          witnesses.push(engine.add(prompt, params, applied, share, more));
          if (waits) await engine.turn();
        }
        await engine.drain();
        return witnesses;
      }),
    );
    for (const [i, witness] of found!.entries()) {
      const other = expected![i]!;
      const tokens = ({ events }: Witness) => events.map(({ token }) => token);
      assert.deepEqual(tokens(witness), tokens(other));
      assert.equal(witness.end!.reason, other.end!.reason);
      const logprobs = ({ events, end }: Witness) => [
        ...events.map(({ logprobs }) => logprobs!.logprob),
        ...(end!.promptLogprobs ?? []).map((one) => one?.logprob ?? 0),
      ];
      // A device's products are cut by the number of rows, so the last bits differ.
      for (const [j, logprob] of logprobs(witness).entries()) {
        assert.ok(Math.abs(logprob - logprobs(other)[j]!) < 1e-3, `${logprob}, ${logprobs(other)[j]}`);
      }
      cached += witness.end!.cachedTokens;
      assert.equal(other.end!.cachedTokens, 0);
    }
  }
  for (const { decoder } of [scarce!, plenty!]) await decoder.release();
});
