// A shape survives the way to config.json and back, and so does the row order of GGUF.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { ModelShape } from '../../src/core/base-model.ts';
import { pairedRow, unpairedRow } from '../../src/formats/unpair-rows.ts';
import { configShape } from '../../src/models/config-shape.ts';
import { configOf } from '../../src/models/write-config.ts';
import { tinyShape } from './model-folder.ts';

const llama3 = { kind: 'llama3', factor: 8, lowFreqFactor: 1, highFreqFactor: 4, originalContext: 8192 } as const;

const windows = (window: number | null) => ({ window, rope: 'global' }) as const;
const yarn = { factor: 4, originalContext: 16, betaFast: 32, betaSlow: 1, attentionFactor: 1.1, truncate: true };
const longrope = { originalContext: 16, shortFactors: [1], longFactors: [2], attentionFactor: 1.1 };
const gemma = {
  activation: 'gelu',
  outputNorms: true,
  norms: 'around one',
  scaledTable: true,
  embeddingScale: 8 ** 0.5,
} as const;

const familyShapes: readonly ModelShape[] = [
  { ...tinyShape, ropeScaling: { kind: 'yarn', ...yarn }, attention: [windows(16), windows(16)] },
  { ...tinyShape, architecture: 'qwen2', attention: [windows(null), windows(16)] },
  { ...tinyShape, architecture: 'smollm3', attention: [windows(null), { window: null, rope: null }] },
  {
    ...{ ...tinyShape, architecture: 'granite' },
    ...{ embeddingScale: 12, residualScale: 0.22, attentionScale: 0.0625, logitsScale: 0.125 },
  },
  {
    ...{ ...tinyShape, architecture: 'phi3', ropeScaling: { kind: 'longrope', ...longrope } },
    ...{ fusedRows: true, ropeDims: 2, attention: [windows(32), windows(32)] },
  },
  {
    ...{ ...tinyShape, ...gemma, architecture: 'gemma2', attentionSoftcap: 50, logitsSoftcap: 30 },
    ...{ attentionScale: 0.25, attention: [windows(32), windows(null)] },
  },
  {
    ...{ ...tinyShape, ...gemma, architecture: 'gemma3', localRopeTheta: 1e3 },
    attention: [{ window: 32, rope: 'local' }, windows(null)],
  },
];

test('a written config means the shape that it was written from', () => {
  const shapes = [
    tinyShape,
    { ...tinyShape, tiedEmbedding: true, ropeScaling: llama3 },
    { ...tinyShape, architecture: 'qwen2', ropeScaling: { kind: 'linear', factor: 2.5 } },
    { ...tinyShape, architecture: 'qwen3', headDim: 16, ropeTheta: 1e6 },
    ...familyShapes,
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
