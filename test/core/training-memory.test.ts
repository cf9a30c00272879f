import assert from 'node:assert/strict';
import test from 'node:test';
import { LorikeetError } from '../../src/core/errors.ts';
import { assertRowsFit, microBatchTokens, usualTrainingBytes } from '../../src/core/training-memory.ts';

const MiB = 2 ** 20;
/** SmolLM2-135M. */
const shape = { layers: 30, hidden: 576, heads: 9 };
const weightBytes = 100 * MiB;

/** The sum that a refusal names, in MiB. */
function neededFor(longestRow: number, recompute = false): number {
  try {
    assertRowsFit(shape, { bytes: 0, weightBytes }, { longestRow, recompute });
  } catch (error) {
    assert.ok(error instanceof LorikeetError);
    assert.deepEqual([error.code, error.param], ['memory_exceeded', 'max_tokens']);
    const [, sum, ...parts] = /needs (\d+) MiB.*weights (\d+) MiB, activations (\d+) MiB, attention (\d+) MiB/.exec(
      error.message,
    )!;
    const added = parts.reduce((sum, part) => sum + Number(part), 0);
    assert.ok(Math.abs(added - Number(sum)) <= 2, error.message);
    assert.equal(/set recompute/.test(error.message), !recompute);
    return Number(sum);
  }
  return 0;
}

test('what a step on long rows takes is foreseen: 1,024 tokens took 2,380 MiB, with recompute 742', () => {
  for (const [found, measured] of [
    [neededFor(1024), 2380],
    [neededFor(1024, true), 742],
  ] as const) {
    assert.ok(found > 0.9 * measured && found < 1.25 * measured, `${found} MiB`);
  }
});

test('attention grows with the square, and computing activations again leaves it one layer', () => {
  assert.ok(neededFor(8192) > 10 * neededFor(2048));
  assert.ok(neededFor(8192, true) < neededFor(8192) / 6);
});

test('rows as long as usual are refused by no plan, and longer ones where it leaves too little', () => {
  assert.equal(neededFor(microBatchTokens), 0);
  const enough = { bytes: (neededFor(600) + 1) * MiB, weightBytes };
  assertRowsFit(shape, enough, { longestRow: 600, recompute: false });
  assert.throws(() => assertRowsFit(shape, enough, { longestRow: 700, recompute: false }), { code: 'memory_exceeded' });
  assert.ok(usualTrainingBytes(shape, weightBytes) < enough.bytes);
});
