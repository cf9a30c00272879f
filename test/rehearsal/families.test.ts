// Steps of every model family with everything that its graphs may hold, by ONNX Runtime's real CUDA provider on a card
// that is not there. Session creation fails where an operator has no kernel for the card's float type
// (LORIKEET_TEST_CARD_REAL) and would be left to the processor. A run fails where a registered kernel has nothing to
// launch for that type.

import assert from 'node:assert/strict';
import test from 'node:test';
import { systemClock } from '../../src/core/clock.ts';
import { notOn } from '../../src/core/layer-plan.ts';
import { createBreath } from '../../src/engine/adapters/breath.ts';
import { readAdapter } from '../../src/engine/adapters/read-adapter.ts';
import type { RowAdapter } from '../../src/engine/adapters/row-adapter.ts';
import { createDecoder } from '../../src/engine/runner/decoder.ts';
import { evenBatch } from '../../src/engine/runner/forward-batch.ts';
import { encodeOnnx } from '../../src/formats/onnx.ts';
import { createGraphBuilder } from '../../src/graph/graph-builder.ts';
import { buildClear, buildCopyRows, buildWriteRows } from '../../src/graph/pool-rows.ts';
import { everyModule, randomAdapter } from '../engine/adapters/random-adapters.ts';
import { testRuntime } from '../helpers/test-runtime.ts';
import { tinyLowered, tinyModel } from '../helpers/tiny-lowered.ts';
import { familyModels } from '../helpers/tiny-models.ts';
import { skip } from './card-log.ts';

const models = ['llama-gguf', 'qwen2', 'qwen3', ...familyModels] as const;
const kernels = ['own', 'runtime'] as const;
const widths = [null, 4, 8, 32] as const;
const results = ['logits', 'hidden'] as const;
for (const name of models) {
  for (const deviceKernels of kernels) {
    const missing = notOn('cuda', (await tinyModel(name)).shape);
    test(`every step of ${name} runs, ${deviceKernels}`, { skip: skip || (missing ?? false) }, async () => {
      for (const inBlocks of [false, true]) {
        for (const bits of widths) {
          const runtime = testRuntime({ deviceKernels, strict: true, inBlocks });
          const model = await tinyLowered(name, bits);
          const decoder = createDecoder(runtime, model, { rows: 4, positions: 64, pages: 16 });
          const { files } = randomAdapter(model.shape, { seed: 1, modules: everyModule, r: 5, dora: true });
          const adapter = await readAdapter(files, { model, breath: createBreath(systemClock) });
          const adapted: RowAdapter = { adapter, scale: 1, placement: decoder.pages.place(adapter)! };
          await adapted.placement.copied;
          const prompt = {
            kind: 'prompt' as const,
            first: 0,
            pasts: [0, 0, 0],
            tokens: [1, 2, 3, 4, 5, 6],
            sampled: [1, 3, 5],
          };
          const answers = {
            kind: 'answer' as const,
            first: 0,
            pasts: [2, 2, 2],
            tokens: [1, 2, 3],
            sampled: [0, 1, 2],
          };
          for (const rows of [
            [null, null, null],
            [adapted, adapted, adapted],
            [adapted, null, adapted],
          ]) {
            for (const result of results) {
              await decoder.forward({ ...evenBatch({ ...prompt, adapters: rows }), result });
              await decoder.forward({ ...evenBatch({ ...answers, adapters: rows }), result });
            }
            await decoder.logitsOf(evenBatch({ ...answers, adapters: rows }), [0, 0, 0]);
          }
          // With one sequence ONNX Runtime's operators multiply all rows with its pages.
          await decoder.forward(
            evenBatch({ ...prompt, first: 3, pasts: [0], tokens: [1, 2], sampled: [1], adapters: [adapted] }),
          );
          // Rows that end, move and are given back.
          decoder.kv.clear(0);
          await decoder.forward(evenBatch({ ...answers, first: 1, pasts: [3, 3], tokens: [4, 5], sampled: [0, 1] }));
          await decoder.release();
        }
      }
    });
  }
}

test('an operator without a kernel is refused', { skip }, async () => {
  const runtime = testRuntime({ deviceKernels: 'runtime', strict: true });
  const g = createGraphBuilder();
  g.op('Det', [g.input('x', 'float32', ['n', 'n'])], {}, g.output('y', 'float32', []));
  await assert.rejects(runtime.session(encodeOnnx(g.build()), { weights: new Map() }), /assigned to the default CPU/);
});

test('every graph over rows of pools has kernels', { skip }, async () => {
  const runtime = testRuntime({ deviceKernels: 'runtime', strict: true });
  const { real } = runtime.device!;
  const written = [true, false].map((transposed) => buildWriteRows(2, real, transposed));
  const graphs = [...written, buildCopyRows(2, real), buildClear(real)];
  for (const graph of graphs) (await runtime.session(encodeOnnx(graph), { weights: new Map() })).release();
});
