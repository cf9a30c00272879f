// The adapters that llama.cpp is measured on, read back with our own readers.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toGgufAdapter } from '../../bench/peers/gguf-adapter.ts';
import { parseGguf } from '../../src/formats/gguf.ts';
import { parseSafetensorsHeader } from '../../src/formats/safetensors.ts';
import { unpairRows } from '../../src/formats/unpair-rows.ts';
import { adapterFolder } from '../parity/adapters.ts';

const heads = { heads: 9, kvHeads: 3 };

test('a converted adapter has the same numbers, rows of Q and K in pairs', () => {
  const folder = adapterFolder('r8-attention-bf16');
  const converted = toGgufAdapter(folder, heads);
  const { metadata, tensors } = parseGguf(converted, converted.length)!;
  assert.deepEqual(Object.fromEntries(metadata), {
    ...{ 'general.type': 'adapter', 'general.architecture': 'llama' },
    ...{ 'adapter.type': 'lora', 'adapter.lora.alpha': 16 },
  });
  const file = parseSafetensorsHeader(folder.weights, folder.weights.length)!;
  assert.equal(tensors.length, file.tensors.length);
  const same = { q: 'attn_q', k: 'attn_k', v: 'attn_v', o: 'attn_output' };
  for (const [letter, linear] of Object.entries(same)) {
    for (const half of ['A', 'B']) {
      const name = `base_model.model.model.layers.7.self_attn.${letter}_proj.lora_${half}.weight`;
      const ours = file.tensors.find((tensor) => tensor.name === name)!;
      const theirs = tensors.find((tensor) => tensor.name === `blk.7.${linear}.weight.lora_${half.toLowerCase()}`)!;
      assert.deepEqual([theirs.type, theirs.shape], [ours.type, ours.shape]);
      const bytes = converted.subarray(theirs.offset, theirs.offset + theirs.bytes);
      const rotated = half === 'B' && { q: heads.heads, k: heads.kvHeads }[letter];
      const expected = folder.weights.subarray(ours.offset, ours.offset + ours.bytes);
      assert.equal(Buffer.compare(rotated ? unpairRows(bytes, rotated, 64) : bytes, expected), 0, name);
    }
  }
});

test('rsLoRA is said through alpha; what llama.cpp cannot say is refused', () => {
  const rslora = toGgufAdapter(adapterFolder('rslora'), heads);
  // alpha / r of llama.cpp is alpha / sqrt(r) of rsLoRA.
  assert.equal(parseGguf(rslora, rslora.length)!.metadata.get('adapter.lora.alpha'), 16 * Math.sqrt(16));
  for (const name of ['dora', 'rank-and-alpha-pattern']) {
    assert.throws(() => toGgufAdapter(adapterFolder(name), heads), /no DoRA, and no alpha of a single pair/);
  }
  assert.throws(() => toGgufAdapter(adapterFolder('lm-head'), heads), /takes no F16 tensor/);
});
