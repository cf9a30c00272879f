// Adapters in other programs' layouts: they are stored in PEFT's layout, with the same numbers.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { toGgufAdapter } from '../../bench/peers/gguf-adapter.ts';
import { transpose } from '../../src/formats/foreign/foreign-adapter.ts';
import { readPeftAdapter } from '../../src/formats/peft-adapter.ts';
import { parseSafetensorsHeader } from '../../src/formats/safetensors.ts';
import { ggufText, layOutGguf } from '../../src/formats/write-gguf.ts';
import { writeSafetensors } from '../../src/formats/write-safetensors.ts';
import { array, buildGguf, text } from '../formats/gguf-builder.ts';
import { byUpload, testRegistry } from '../helpers/test-registry.ts';
import { tinyAdapter } from '../helpers/tiny-adapters.ts';
import { tinyShape } from '../models/model-folder.ts';

const headerOf = (weights: Uint8Array) => parseSafetensorsHeader(weights, weights.length)!;

/** Values of every tensor by name, and the pairs that the config makes of them. */
function meaning(config: Uint8Array, weights: Uint8Array) {
  const header = headerOf(weights);
  const { pairs } = readPeftAdapter(config, header, tinyShape);
  const bytes = header.tensors.map(({ name, offset, bytes }) => [
    name,
    Buffer.from(weights.subarray(offset, offset + bytes)).toString('hex'),
  ]);
  return {
    values: Object.fromEntries(bytes),
    pairs: pairs.map(({ layer, module, r, scaling }) => [layer, module, r, scaling]),
  };
}

async function stored(t: TestContext, weights: Uint8Array, config: Uint8Array | null) {
  const registry = await testRegistry(t);
  const staged = await registry.stage('default');
  if (config !== null) await staged.config(config);
  await staged.weights(Readable.from([weights]));
  const { adapter } = await staged.publish('a', byUpload);
  const { files, release } = await registry.lease('default', 'a');
  const found = meaning(readFileSync(files.config), readFileSync(files.weights));
  release();
  return { ...found, warnings: adapter.warnings };
}

test('a GGUF adapter of llama.cpp becomes the adapter that it was made from', async (t) => {
  const adapter = tinyAdapter(3);
  const gguf = toGgufAdapter(adapter, { heads: tinyShape.heads, kvHeads: tinyShape.kvHeads });
  const { warnings, ...found } = await stored(t, gguf, null);
  assert.deepEqual(found, meaning(adapter.config, adapter.weights));
  assert.match(warnings.join(), /Converted from a GGUF adapter/);
});

test('a GGUF file that is no adapter is refused for what it is', async (t) => {
  const registry = await testRegistry(t);
  const cases: [Uint8Array[], RegExp][] = [
    [[ggufText('general.type', 'model')], /general\.type is "model": a whole model, no adapter/],
    [[ggufText('general.type', 'adapter'), ggufText('adapter.type', 'control_vector')], /adapter\.type is not "lora"/],
    [
      [
        ggufText('general.type', 'adapter'),
        ggufText('adapter.type', 'lora'),
        ggufText('general.architecture', 'qwen2'),
      ],
      /general\.architecture is "qwen2"; the base model is llama/,
    ],
  ];
  for (const [entries, says] of cases) {
    const staged = await registry.stage('default');
    await staged.weights(Readable.from([layOutGguf(entries, [], 32).header]));
    await assert.rejects(staged.publish('a', byUpload), { message: says });
    await staged.discard();
  }
});

test('a GGUF file with a vocabulary is read by nobody who waits for others', async (t) => {
  const registry = await testRegistry(t);
  const entries = [text('general.type', 'adapter'), array('tokens', 0, Array(20_000).fill(1))];
  for (const [file, says] of [
    [buildGguf({ entries }), /more than 16384 items together/],
    [buildGguf({ entries: [text('general.type', 'x'.repeat(5 * 2 ** 20))] }), /limit|past|bytes/],
  ] as const) {
    const staged = await registry.stage('default');
    await staged.weights(Readable.from([file]));
    await assert.rejects(staged.publish('a', byUpload), { code: 'adapter_invalid', message: says });
    await staged.discard();
  }
});

test('an adapter of mlx-lm has its matrices turned, and alpha from its scale', async (t) => {
  const adapter = tinyAdapter(4);
  const tensors = headerOf(adapter.weights).tensors.map(({ name, type, shape, offset, bytes }) => ({
    name: name
      .replace('base_model.model.', '')
      .replace(/\.lora_([AB])\.weight$/, (_, half) => `.lora_${half.toLowerCase()}`),
    type,
    shape: shape.toReversed(),
    bytes: transpose(shape[0]!, shape[1]!, 4)(adapter.weights.subarray(offset, offset + bytes)),
  }));
  const config = {
    ...{ fine_tune_type: 'lora', num_layers: 16, model: 'mlx-community/tiny', adapter_path: 'adapters' },
    lora_parameters: { rank: 2, scale: 2.0, dropout: 0.0, keys: ['self_attn.q_proj'] },
  };
  const written = Buffer.from(JSON.stringify(config));
  const { warnings, ...found } = await stored(t, writeSafetensors(tensors), written);
  assert.deepEqual(found, meaning(adapter.config, adapter.weights));
  assert.match(warnings.join(), /Converted from an adapter of mlx-lm/);
});

test('what mlx-lm writes for a full fine-tuning is no adapter', async (t) => {
  const registry = await testRegistry(t);
  const staged = await registry.stage('default');
  await staged.config(Buffer.from(JSON.stringify({ fine_tune_type: 'full', lora_parameters: { rank: 8, scale: 20 } })));
  await staged.weights(Readable.from([tinyAdapter(1).weights]));
  await assert.rejects(staged.publish('a', byUpload), { code: 'adapter_unsupported', param: 'fine_tune_type' });
  await staged.discard();
});
