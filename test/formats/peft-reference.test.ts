// Compares ranks, scalings and expressions with PEFT's and Python's own; make-peft-cases.py tells how they were
// recorded.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { LorikeetError } from '../../src/core/errors.ts';
import { pairValues } from '../../src/formats/adapter-values.ts';
import { readPeftAdapter } from '../../src/formats/peft-adapter.ts';
import { moduleName } from '../../src/formats/peft-modules.ts';
import { patternCompiler } from '../../src/formats/peft-pattern.ts';
import { parseSafetensorsHeader, type SafetensorsType } from '../../src/formats/safetensors.ts';
import { tinyShape } from './peft-files.ts';
import { accepts, assertRefuses } from './refusal.ts';

type Files = { name: string; config: string; header: string; bytes: number };
type Reference = {
  names: string[];
  adapters: (Files & { modules?: Record<string, [number, number]>; fails?: string })[];
  refused: (Files & { param: string })[];
  patterns: [pattern: string, suffix: string | null, whole: string | null][];
  values: { name: string; type: SafetensorsType; shape: number[]; bytes: string; floats: number[] }[];
};
const fixture = new URL('../fixtures/peft-cases.json', import.meta.url);
const reference: Reference = JSON.parse(readFileSync(fixture, 'utf8'));

function read({ config, header, bytes }: Files) {
  const weights = parseSafetensorsHeader(Buffer.from(header, 'base64'), bytes, 'adapter_invalid')!;
  return readPeftAdapter(Buffer.from(config), weights, tinyShape);
}

for (const { modules, fails, ...files } of reference.adapters) {
  test(`as PEFT loads it: ${files.name}`, () => {
    if (modules === undefined) return assertRefuses(() => read(files), /need \[/, 'adapter_invalid');
    assert.equal(fails, undefined);
    const { pairs, r, usesDora } = read(files);
    const found = pairs.map((pair) => [moduleName(pair), [pair.r, pair.scaling]] as const);
    assert.deepEqual(Object.fromEntries(found), modules);
    assert.equal(r, Math.max(...Object.values(modules).map(([rank]) => rank)));
    assert.ok(pairs.every(({ magnitude }) => (magnitude !== null) === usesDora));
  });
}

for (const { param, ...files } of reference.refused) {
  test(`refused by name: ${files.name}`, () => {
    assert.throws(
      () => read(files),
      (error) => error instanceof LorikeetError && error.code === 'adapter_unsupported' && error.param === param,
    );
  });
}

/** Patterns that need more than linear time, or that the two engines read differently. All of them are refused. */
const inexpressible = /\(\?[=!<>(#x]|\\1|\\Z|\\u|\{,|\[\[:|[*+?}]\+/;

test('expressions match what they match in Python, or are refused', (context) => {
  const verdicts = { same: 0, refused: 0, unreadableToPython: 0 };
  for (const [pattern, suffix, whole] of reference.patterns) {
    for (const [kind, expected] of [
      ['suffix', suffix],
      ['whole', whole],
    ] as const) {
      const bits = () => {
        const matches = patternCompiler()[kind](pattern, 'rank_pattern');
        return reference.names.reduce((sum, name, index) => sum | (matches(name) ? 1n << BigInt(index) : 0n), 0n);
      };
      // An adapter with such an expression cannot be loaded by PEFT, whatever it would mean here.
      const isRead = accepts(bits);
      if (expected === null) verdicts.unreadableToPython++;
      else if (!isRead && inexpressible.test(pattern)) verdicts.refused++;
      else {
        assert.equal(bits(), BigInt(expected), `${kind} ${pattern}`);
        verdicts.same++;
      }
    }
  }
  context.diagnostic(JSON.stringify(verdicts));
  assert.ok(verdicts.same > 800, `${verdicts.same}`);
});

test('values are those of the reference', () => {
  assert.deepEqual(
    reference.values.map(({ type }) => type),
    ['F32', 'F16', 'BF16'],
  );
  for (const { name, type, shape, bytes, floats } of reference.values) {
    const data = new Uint8Array(Buffer.from(bytes, 'base64'));
    const tensor = { name, type, shape, offset: 0, bytes: data.length };
    assert.deepEqual([...pairValues(tensor, data)], floats);
  }
});
