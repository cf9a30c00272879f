// A model of 1.5 billion random weights, from files beyond 2 GiB, in a process of its own: lowered once, then read from
// the cache, with an adapter beside it. Run by hand, since it takes minutes, 7 GB of disk and 8 GB of memory:
//
//     LORIKEET_TEST_LARGE=on npm test -- engine/large

import assert from 'node:assert/strict';
import { closeSync, copyFileSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { defaultSamplingParams } from '../../src/core/sampling-params.ts';
import type { Engine } from '../../src/engine/loop/engine.ts';
import { startEngine } from '../../src/engine/start-engine.ts';
import { safetensorsBytes, safetensorsHeader } from '../../src/formats/write-safetensors.ts';
import { configShape } from '../../src/models/config-shape.ts';
import { openModel } from '../../src/models/open.ts';
import { tensorSpecs } from '../../src/models/tensor-specs.ts';
import type { EngineEvent } from '../../src/protocol/messages.ts';
import { filesAt, temporaryFolder } from '../helpers/tiny-lowered.ts';
import { tinyModelPath } from '../helpers/tiny-models.ts';
import { layerModules, randomAdapter } from './adapters/random-adapters.ts';

const skip = process.env.LORIKEET_TEST_LARGE === 'on' ? false : 'by hand: LORIKEET_TEST_LARGE=on';

/** Sizes of Qwen2.5 1.5B. */
const sizes = {
  ...{ hidden_size: 1536, intermediate_size: 8960, num_hidden_layers: 28, head_dim: 128 },
  ...{ num_attention_heads: 12, num_key_value_heads: 2, vocab_size: 151_936, max_position_embeddings: 32_768 },
};

/** Writes a folder as the hub has it: bfloat16, one file. Every tensor is a part of one pattern around 0. */
function writeModel(folder: string): void {
  const tiny = tinyModelPath('qwen2');
  const config = { ...JSON.parse(readFileSync(join(tiny, 'config.json'), 'utf8')), ...sizes };
  config.layer_types = new Array(sizes.num_hidden_layers).fill('full_attention');
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  for (const name of ['tokenizer.json', 'tokenizer_config.json']) copyFileSync(join(tiny, name), join(folder, name));
  const shape = configShape(config, false);
  const tensors = tensorSpecs(shape).map((spec) => ({ name: spec.name, type: 'BF16' as const, shape: spec.shape }));
  const { header, ordered } = safetensorsHeader(tensors, { format: 'pt' });
  const noise = Uint16Array.from({ length: 1 << 21 }, (_, i) => {
    // The upper half of a float32: uniform within 0.04.
    const value = (((i * 2_654_435_761) >>> 0) / 2 ** 32 - 0.5) * 0.08;
    return new Uint32Array(Float32Array.of(value).buffer)[0]! >>> 16;
  });
  const ones = new Uint16Array(2048).fill(0x3f80);
  const file = openSync(join(folder, 'model.safetensors'), 'w');
  writeSync(file, header);
  for (const tensor of ordered) {
    const from = new Uint8Array((tensor.name.includes('norm') ? ones : noise).buffer);
    for (let left = safetensorsBytes(tensor); left > 0; ) left -= writeSync(file, from, 0, Math.min(left, from.length));
  }
  closeSync(file);
}

const gibibytes = (bytes: number) => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
/** Memory of this process, now and at most. */
function memory(): string {
  const status = readFileSync('/proc/self/status', 'utf8');
  const kilobytes = (field: string) => Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1]);
  return `${gibibytes(kilobytes('VmRSS') * 1024)} of memory, ${gibibytes(kilobytes('VmHWM') * 1024)} at most`;
}

async function tokensOf(engine: Engine, emitted: EngineEvent[], adapters: Parameters<Engine['add']>[0]['adapters']) {
  emitted.length = 0;
  const promptTokens = Array.from({ length: 64 }, (_, i) => (i * 7919) % 150_000);
  const params = { ...defaultSamplingParams, temperature: 0, maxTokens: 8 };
  engine.add({ id: 1, promptTokens, adapters, params });
  while (!engine.idle) {
    await engine.step();
    await new Promise(setImmediate);
  }
  const steps = emitted.flatMap((event) => (event.type === 'step' ? [event] : []));
  const [end] = steps.flatMap(({ ended }) => ended);
  assert.equal(end!.reason, 'length', JSON.stringify(end));
  const { prefillMs, decodeMs } = end!.timings;
  return { tokens: steps.flatMap(({ tokens }) => tokens.map(({ token }) => token)), prefillMs, decodeMs };
}

test('1.5 billion weights from a file beyond 2 GiB serve, from the cache too, with an adapter', { skip }, async (t) => {
  const folder = temporaryFolder();
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  writeModel(folder);
  assert.ok(statSync(join(folder, 'model.safetensors')).size > 2 ** 31);
  const model = await filesAt(folder);
  const { shape } = await openModel(model);
  const { files } = randomAdapter(shape, { seed: 1, modules: layerModules, r: 8 });
  const cacheDir = join(folder, 'cache');
  const found: { tokens: number[]; prefillMs: number; decodeMs: number }[] = [];
  for (const from of ['files', 'cache']) {
    const began = systemClock.monotonic();
    const emitted: EngineEvent[] = [];
    const { engine } = await startEngine(
      {
        ...{ model, weightBits: 16, decodeActivations: 'int8', device: 'cpu', ortLibrary: null, threads: 2, cacheDir },
        ...{ maxSequences: 4, maxContext: 512, prefillChunk: 128, adapterBytes: 2 ** 28, adapterPages: null },
      },
      systemClock,
      { emit: (event) => emitted.push(event), onChange() {} },
    );
    t.diagnostic(`from ${from}: ready in ${Math.round(systemClock.monotonic() - began)} ms, ${memory()}`);
    for (const adapters of [[], [{ files, scale: 1 }]]) found.push(await tokensOf(engine, emitted, adapters));
    const { prefillMs, decodeMs } = found.at(-1)!;
    t.diagnostic(`with an adapter: 64 tokens read in ${Math.round(prefillMs)} ms, 7 in ${Math.round(decodeMs)} ms`);
  }
  t.diagnostic(memory());
  const [base, adapted, again, adaptedAgain] = found.map(({ tokens }) => tokens);
  assert.deepEqual([again, adaptedAgain], [base, adapted]);
  assert.notDeepEqual(adapted, base);
});
