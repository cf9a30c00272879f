// The paper's experiments on our engine: that the plans are what the tables say, and the figures what they are called.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { analyseRuns } from '../../bench/paper/analyse-runs.ts';
import { costsOf } from '../../bench/paper/costs.ts';
import { allPlans, matrixPlans, nameOf, type Plan, rankPlan, seeds } from '../../bench/paper/plans.ts';
import { tablesOf } from '../../bench/paper/tables.ts';
import type { Run } from '../../bench/paper/train-once.ts';
import { linearSize } from '../../src/core/adapter.ts';
import type { ModelShape } from '../../src/core/base-model.ts';
import { openModel } from '../../src/models/open.ts';
import { randomAdapter } from '../engine/adapters/random-adapters.ts';
import { tinyFiles } from '../helpers/tiny-lowered.ts';

const groupedQueries = { hidden: 576, heads: 9, kvHeads: 3, headDim: 64 } as ModelShape;

test('every choice of matrices has as many parameters, and every adapter is trained once', () => {
  const perLayer = ({ modules, r, rankPattern = {} }: Plan) =>
    modules.reduce((sum, module) => {
      const size = linearSize(groupedQueries, module);
      return sum + (rankPattern[module] ?? r) * (size.in + size.out);
    }, 0);
  assert.deepEqual([...new Set(Object.values(matrixPlans).map(perLayer))], [9216]);
  assert.equal(new Set(allPlans.map(nameOf)).size, allPlans.length);
});

const model = await tinyFiles('llama');
const base = await openModel(model);
const run = (plan: Plan): [string, Run] => {
  const adapter = randomAdapter(base.shape, plan).files;
  const figures = { validLoss: 1.25, parameters: 100, adapterBytes: 400, trainedTokens: 10, peakRssBytes: 1e6 };
  return [nameOf(plan), { name: nameOf(plan), adapter, ...figures }];
};

test('nothing of a weight lies along other directions as it does along its own', async () => {
  const { amplifications } = await analyseRuns(new Map([run(rankPlan(4))]), model, base);
  assert.deepEqual(
    amplifications.map(({ module, r }) => [module, r]),
    [
      ['q_proj', 4],
      ['v_proj', 4],
    ],
  );
  for (const { weightNorm, deltaNorm, alongDelta, alongWeight, alongRandom, factor } of amplifications) {
    assert.ok(weightNorm > alongWeight && alongWeight > alongDelta && alongWeight > alongRandom);
    assert.ok(alongDelta > 0 && alongRandom > 0);
    assert.ok(Math.abs(factor * alongDelta - deltaNorm) < 1e-9 * deltaNorm);
  }
});

test('an adapter lies in itself, and what is missing is left out', async () => {
  const [, same] = run(rankPlan(64));
  const runs = new Map([rankPlan(64), rankPlan(64, seeds[1])].map((plan) => [nameOf(plan), same]));
  const analysis = await analyseRuns(runs, model, base);
  assert.equal(analysis.comparisons.length, 2);
  for (const { similarity } of analysis.comparisons) {
    for (const { phi } of [similarity.input, similarity.output]) {
      for (const [at, row] of phi.entries()) assert.ok(Math.abs(row[at]! - 1) < 1e-9);
    }
  }
  const tables = tablesOf(runs, analysis, costsOf(runs, base));
  assert.match(tables, /loss here, Wq,Wv, seed 1 +\| - +\| - +\| - +\| - +\| 1\.250/);
  assert.match(tables, /Wo +\| 8 +\| - +\| - +\| 8 +\| 73\.2/);
});
