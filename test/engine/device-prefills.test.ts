// Long prompts on devices whose kernels for them are right, and on one whose are not.

import assert from 'node:assert/strict';
import test from 'node:test';
import { evenForLongPrefills } from '../../src/engine/runner/even-prefills.ts';

type Prompt = {
  readonly run: {
    readonly phase: string;
    readonly pasts: readonly number[];
    readonly tokens: readonly number[];
    readonly sampled: readonly number[];
  };
};

/** Logits [sampled, 2]: sums of all tokens up to each; a broken device adds nothing for long pieces. */
function device(isBroken: boolean) {
  const held: number[] = [];
  const runs: number[] = [];
  const forward = async ({ run: { pasts, tokens, sampled } }: Prompt) => {
    runs.push(tokens.length);
    held.length = pasts[0]!;
    held.push(...tokens);
    const sum = (count: number) => held.slice(0, count).reduce((a, b) => a + b, 0);
    return Float32Array.from(
      sampled.flatMap((index) => [isBroken && tokens.length > 31 ? 0 : sum(pasts[0]! + index + 1), -1]),
    );
  };
  return { forward, runs };
}

const prompt = (length: number, sampled: number[]) => ({
  run: { phase: 'prefill', pasts: [0], tokens: Array.from({ length }, (_, i) => i), sampled },
});

test('kernels that are right are tried once and used for ever', async () => {
  const { forward, runs } = device(false);
  const warnings: string[] = [];
  const even = evenForLongPrefills(forward, (message) => warnings.push(message));
  for (let round = 0; round < 2; round++) assert.deepEqual([...(await even(prompt(70, [69])))], [2415, -1]);
  await even(prompt(5, [4]));
  assert.deepEqual([runs, warnings], [[70, 31, 31, 8, 70, 5], []]);
});

test('kernels that are wrong are never used again, and it is said', async () => {
  const { forward, runs } = device(true);
  const warnings: string[] = [];
  const even = evenForLongPrefills(forward, (message) => warnings.push(message));
  for (let round = 0; round < 2; round++) {
    assert.deepEqual([...(await even(prompt(70, [3, 40, 41, 69])))], [6, -1, 820, -1, 861, -1, 2415, -1]);
  }
  await even(prompt(31, [30]));
  assert.deepEqual(runs, [70, 31, 31, 8, 31, 31, 8, 31]);
  assert.match(warnings.join(), /^this device computes long prompts wrongly/);
});

test('decode steps are nobody’s business here', async () => {
  const { forward, runs } = device(true);
  const even = evenForLongPrefills(forward, assert.fail);
  const tokens = Array.from({ length: 40 }, () => 1);
  await even({ run: { phase: 'decode', pasts: tokens.map(() => 0), tokens, sampled: tokens.map((_, i) => i) } });
  assert.deepEqual(runs, [40]);
});

test('a piece of a prompt whose logits nobody asks for is compared all the same', async () => {
  for (const isBroken of [false, true]) {
    const { forward, runs } = device(isBroken);
    const warnings: string[] = [];
    const even = evenForLongPrefills(forward, (message) => warnings.push(message));
    for (let round = 0; round < 2; round++) assert.deepEqual([...(await even(prompt(40, [])))], []);
    assert.deepEqual(runs, isBroken ? [40, 31, 9, 31, 9] : [40, 31, 9, 40]);
    assert.equal(warnings.length, isBroken ? 1 : 0);
  }
});
