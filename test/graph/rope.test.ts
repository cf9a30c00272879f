import assert from 'node:assert/strict';
import test from 'node:test';
import type { ModelShape, RopeScaling } from '../../src/core/base-model.ts';
import { ropeTables } from '../../src/graph/rope.ts';

const shapeOf = (ropeTheta: number, headDim: number, ropeScaling: RopeScaling | null): ModelShape => ({
  architecture: 'llama',
  layers: 1,
  hidden: 64,
  intermediate: 64,
  heads: 1,
  kvHeads: 1,
  headDim,
  vocabulary: 32,
  context: 4096,
  ropeTheta,
  ropeScaling,
  rmsNormEps: 1e-5,
  tiedEmbedding: true,
});

/** The angles at position 1 are the frequencies. */
function frequencies(shape: ModelShape): number[] {
  const { cos, sin } = ropeTables(shape, 2);
  const half = shape.headDim / 2;
  return Array.from({ length: half }, (_, i) => Math.atan2(sin[half + i]!, cos[half + i]!));
}

function assertClose(actual: readonly number[], expected: readonly number[]): void {
  assert.equal(actual.length, expected.length);
  for (const [i, value] of actual.entries()) assert.ok(Math.abs(value - expected[i]!) < 1e-7, `${i}: ${value}`);
}

test('plain frequencies fall from 1 by equal ratios to theta', () => {
  assertClose(frequencies(shapeOf(10_000, 8, null)), [1, 0.1, 0.01, 0.001]);
});

test('every entry is the cosine and the sine of position times frequency', () => {
  const { cos, sin } = ropeTables(shapeOf(10_000, 8, null), 4096);
  for (const position of [0, 1, 17, 4095]) {
    for (const [i, frequency] of [1, 0.1, 0.01, 0.001].entries()) {
      assert.ok(Math.abs(cos[position * 4 + i]! - Math.cos(position * frequency)) < 1e-6);
      assert.ok(Math.abs(sin[position * 4 + i]! - Math.sin(position * frequency)) < 1e-6);
    }
  }
});

test('linear scaling divides every frequency', () => {
  assertClose(frequencies(shapeOf(10_000, 8, { kind: 'linear', factor: 4 })), [0.25, 0.025, 0.0025, 0.00025]);
});

test('longrope has frequencies of its own for a context beyond the original, and scales both tables', () => {
  const factors = { shortFactors: [1, 1, 2, 2], longFactors: [1, 2, 4, 8] };
  const shape = shapeOf(10_000, 8, { kind: 'longrope', originalContext: 16, attentionFactor: 1.25, ...factors });
  for (const [positions, expected] of [
    [16, [1, 0.1, 0.005, 0.0005]],
    [17, [1, 0.05, 0.0025, 0.000125]],
  ] as const) {
    const { cos, sin } = ropeTables(shape, positions);
    for (const [i, frequency] of expected.entries()) {
      assert.ok(Math.abs(cos[4 + i]! - 1.25 * Math.cos(frequency)) < 1e-6);
      assert.ok(Math.abs(sin[4 + i]! - 1.25 * Math.sin(frequency)) < 1e-6);
    }
  }
});

test('a part of a head, a second table and none at all', () => {
  const shape = { ...shapeOf(10_000, 8, { kind: 'linear', factor: 4 }), ropeDims: 4, localRopeTheta: 100 };
  assert.deepEqual([...ropeTables(shape, 2, 'local').cos], [1, 1, Math.cos(1), Math.cos(0.1)].map(Math.fround));
  assert.deepEqual([...ropeTables(shape, 2, 'none').cos], [1, 1, 1, 1]);
  assert.deepEqual([...ropeTables(shape, 2, 'none').sin], [0, 0, 0, 0]);
});

test('llama3 scaling gives transformers’ frequencies for Llama 3.2', () => {
  // LlamaRotaryEmbedding(head_dim 64, theta 500000, factor 32, low 1, high 4, original 8192).inv_freq, by index.
  const expected: Readonly<Record<number, number>> = {
    0: 1.0,
    5: 0.128687382,
    10: 0.0165604409,
    14: 0.00321144611,
    15: 0.00129054801,
    16: 0.000429556705,
    17: 9.70828623e-5,
    18: 1.94616387e-5,
    20: 8.57025589e-6,
    25: 1.10288363e-6,
    31: 9.41830649e-8,
  };
  const scaling = { kind: 'llama3', factor: 32, lowFreqFactor: 1, highFreqFactor: 4, originalContext: 8192 } as const;
  const found = frequencies(shapeOf(500_000, 64, scaling));
  for (const [i, value] of Object.entries(expected)) {
    assert.ok(Math.abs(found[Number(i)]! / value - 1) < 1e-5, `${i}: ${found[Number(i)]} for ${value}`);
  }
});
