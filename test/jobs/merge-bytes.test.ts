import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ModelShape } from '../../src/core/base-model.ts';
import { expectedMergeBytes } from '../../src/jobs/merges/merge-bytes.ts';
import { tinyShape } from '../models/model-folder.ts';

const smolLm2: ModelShape = {
  ...tinyShape,
  ...{ layers: 30, hidden: 576, intermediate: 1536, heads: 9, kvHeads: 3, headDim: 64, vocabulary: 49_152 },
};

test('the estimate is what the engine takes for q and v of SmolLM2-135M in 4 bits', () => {
  assert.equal(expectedMergeBytes(smolLm2, 4, ['q_proj', 'v_proj']), 37_324_800);
});

test('joined linears are copied together, and each counts once', () => {
  const bytes = (...modules: string[]) => expectedMergeBytes(smolLm2, 8, modules);
  assert.equal(bytes('q_proj'), bytes('k_proj', 'v_proj', 'q_proj', 'q_proj'));
  assert.equal(bytes('up_proj') + bytes('o_proj'), bytes('gate_proj', 'o_proj'));
  assert.ok(bytes('lm_head') > 0 && bytes('lm_head') < bytes('lm_head', 'down_proj'));
  assert.equal(bytes(), 0);
});
