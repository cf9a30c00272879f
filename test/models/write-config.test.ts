// config.json from a shape, and the row order of GGUF: both ways lead back.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { pairedRow, unpairedRow } from '../../src/formats/unpair-rows.ts';
import { configShape } from '../../src/models/config-shape.ts';
import { configOf } from '../../src/models/write-config.ts';
import { tinyShape } from './model-folder.ts';

const llama3 = { kind: 'llama3', factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalContext: 8192 } as const;

test('a written config means the shape that it was written from', () => {
  const shapes = [
    tinyShape,
    { ...tinyShape, tiedEmbedding: true, ropeScaling: llama3 },
    { ...tinyShape, architecture: 'qwen2', ropeScaling: { kind: 'linear', factor: 2.5 } },
    { ...tinyShape, architecture: 'qwen3', headDim: 16, ropeTheta: 1e6 },
  ] as const;
  for (const shape of shapes) {
    const config = JSON.parse(JSON.stringify(configOf(shape)));
    assert.deepEqual(configShape(config, !shape.tiedEmbedding), shape);
  }
});

test('a row that was paired and unpaired is where it was', () => {
  const heads = fc.integer({ min: 1, max: 64 }).chain((half) => fc.tuple(fc.constant(2 * half), fc.nat({ max: 4096 })));
  fc.assert(
    fc.property(heads, ([headDim, row]) => {
      assert.equal(unpairedRow(pairedRow(row, headDim), headDim), row);
      assert.equal(pairedRow(unpairedRow(row, headDim), headDim), row);
    }),
  );
});
