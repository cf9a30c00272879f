import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultSamplingParams } from '../../src/core/sampling-params.ts';
import type { SequenceRequest } from '../../src/protocol/messages.ts';
import { Quarantine } from '../../src/protocol/quarantine.ts';

const sequence = (token: number, seed?: number): SequenceRequest => ({
  id: token,
  promptTokens: [token],
  params: { ...defaultSamplingParams, ...(seed === undefined ? {} : { seed }) },
  adapters: [],
});
const refused = { code: 'request_quarantined' };

test('what was with two engines that died is refused, whoever sends it; others are not', () => {
  const quarantine = new Quarantine();
  quarantine.engineDied([sequence(1), sequence(2)], 0);
  quarantine.assertHarmless(sequence(1), 1);
  quarantine.engineDied([sequence(1, 5), sequence(3)], 2);
  assert.throws(() => quarantine.assertHarmless(sequence(1, 9), 3), refused);
  for (const other of [2, 3, 4]) quarantine.assertHarmless(sequence(other), 3);
  quarantine.assertHarmless(sequence(1), 3 + 10 * 60_000);
});

test('twice beside itself is one death; and what is remembered has an end', () => {
  const quarantine = new Quarantine();
  quarantine.engineDied([sequence(1), sequence(1)], 0);
  quarantine.assertHarmless(sequence(1), 1);
  for (let i = 10; i < 5000; i++) quarantine.engineDied([sequence(i)], 2);
  quarantine.engineDied([sequence(1)], 3);
  quarantine.assertHarmless(sequence(1), 4);
});
