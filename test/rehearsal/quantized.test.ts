// Linears of 4 and 8 bits on a card that is not there (scripts/rehearse-cuda.js): one launch each at every number of
// rows, and nothing that unpacks a matrix.

import assert from 'node:assert/strict';
import test from 'node:test';
import { createDecoder } from '../../src/engine/runner/decoder.ts';
import { evenBatch } from '../../src/engine/runner/forward-batch.ts';
import { testRuntime } from '../helpers/test-runtime.ts';
import { tinyLowered } from '../helpers/tiny-lowered.ts';
import { createLogReader, skip } from './card-log.ts';

/** Names of what was launched since the last call. */
function createReader() {
  const read = createLogReader();
  return () => read().flatMap((line) => /^launch (.*)$/.exec(line)?.[1] ?? []);
}

/** Kernels of ONNX Runtime's operators for packed weights. */
const ofRuntime = (name: string) => /MatMulFloat|Dequantize|GatherBlockQuantized|cublas|reduce_matrix/i.test(name);

/** Names of what a step of 1, 16, 32 and 64 rows launches. */
async function launchesOf(bits: 4 | 8, deviceKernels: 'own' | 'recorded' | 'runtime') {
  const model = await tinyLowered('llama-gguf', bits);
  const runtime = testRuntime({ deviceKernels, strict: true });
  const decoder = createDecoder(runtime, model, { rows: 64, positions: 64, pages: 8 });
  for (let first = 0; first < 64; first++) {
    await decoder.forward(evenBatch({ kind: 'prompt', first, pasts: [0], tokens: [1, 2], sampled: [1] }));
  }
  const launched = createReader();
  const found = [];
  for (const rows of [1, 16, 32, 64]) {
    const each = Array.from({ length: rows }, (_, i) => i);
    launched();
    const tokens = each.map((i) => i + 1);
    await decoder.forward(evenBatch({ kind: 'answer', first: 0, pasts: each.map(() => 2), tokens, sampled: each }));
    found.push({ rows, names: launched() });
  }
  await decoder.release();
  return { model, found };
}

for (const bits of [4, 8] as const) {
  for (const kernels of ['own', 'recorded'] as const) {
    test(`linears of ${bits} bits are a launch each, ${kernels}`, { skip }, async () => {
      const { model, found } = await launchesOf(bits, kernels);
      for (const { rows, names } of found) {
        const products = names.filter((name) => name === `quantized_linear_${bits}_${Math.max(16, rows)}`);
        assert.equal(products.length, model.linears.size, `${rows} rows`);
        // The tied head is the embedding, too, at 8 bits.
        assert.equal(names.filter((name) => name === 'quantized_embedding').length, bits === 8 ? 1 : 0);
        assert.deepEqual(names.filter(ofRuntime), []);
      }
    });
  }

  test(`without the project's kernels matrices of ${bits} bits are unpacked beyond some rows`, { skip }, async () => {
    const { found } = await launchesOf(bits, 'runtime');
    for (const { rows, names } of found) assert.ok(names.some(ofRuntime), `${rows} rows`);
    assert.ok(found.at(-1)!.names.some((name) => name.includes('Dequantize')));
  });
}
