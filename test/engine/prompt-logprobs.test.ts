// Log-probabilities of a prompt's tokens, from the logits of its prefill, however it is cut into chunks.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logprobsOf } from '../../src/engine/sampling/logprobs.ts';
import { hashDecoder, nextToken } from './hash-decoder.ts';
import { witnessedEngine } from './witnesses.ts';

const vocabulary = 101;
const promptTokens = [5, 9, 5, 44, 100, 0, 7];

/** The decoder gives logit 1 to the token that follows what it has read, and 0 to all others. */
function expected(alternatives: number) {
  return promptTokens.map((token, index) => {
    if (index === 0) return null;
    const logits = new Float32Array(vocabulary);
    logits[nextToken(promptTokens.slice(0, index), vocabulary, 0)] = 1;
    return logprobsOf(logits, token, alternatives);
  });
}

for (const chunk of [1, 2, 3, 64]) {
  test(`each prompt token given those before it, ${chunk} at a time`, async () => {
    const witnessed = witnessedEngine(hashDecoder(2, 64, vocabulary), chunk);
    const beside = witnessed.add([1, 2, 3], { maxTokens: 4 });
    const measured = witnessed.add(promptTokens, { maxTokens: 1 }, [], undefined, { promptLogprobs: 2 });
    await witnessed.drain();
    assert.deepEqual(measured.end!.promptLogprobs, expected(2));
    assert.equal(beside.end!.promptLogprobs, undefined);
  });
}
