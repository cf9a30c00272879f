import assert from 'node:assert/strict';
import test from 'node:test';
import { evictee } from '../../../src/engine/policies/evictee.ts';
import { type PageHolder, pageGiver } from '../../../src/engine/policies/page-shares.ts';

const holder = (flow: number | null, pages: number, startedAt: number): PageHolder<string> => ({
  ...{ flow, pages, startedAt },
  sequences: [`${flow} ${startedAt}`],
});
const flows = [
  { flow: 1, weight: 1 },
  { flow: 2, weight: 1 },
];

test('the flow above its share of the pages gives those that were taken last', () => {
  const held = [holder(1, 16, 1), holder(1, 16, 3), holder(1, 32, 2)];
  assert.equal(pageGiver(held, flows, { flow: 2, needed: 8 }, 64)?.startedAt, 3);
  assert.equal(pageGiver(held.slice(0, 2), flows, { flow: 2, needed: 8 }, 64), null, 'nobody is above');
  assert.equal(pageGiver(held, flows, { flow: 2, needed: 40 }, 64), null, 'it would be above itself');
  assert.equal(pageGiver(held, flows.slice(0, 1), { flow: 1, needed: 8 }, 64), null, 'there is nobody else');
});

test('pages of several flows are nobody to give, and weights are shares', () => {
  assert.equal(pageGiver([holder(null, 64, 1)], flows, { flow: 2, needed: 8 }, 64), null);
  const weighted = [{ flow: 1, weight: 3 }, flows[1]!];
  assert.equal(pageGiver([holder(1, 48, 1)], weighted, { flow: 2, needed: 16 }, 64), null);
  assert.equal(pageGiver([holder(1, 56, 1)], weighted, { flow: 2, needed: 16 }, 64)?.flow, 1);
});

test('an adapter leaves memory for another: the oldest of the flow that keeps most', () => {
  const idle = [
    { key: 'a', bytes: 10, flow: 2 },
    { key: 'b', bytes: 10, flow: 1 },
    { key: 'c', bytes: 30, flow: 1 },
  ];
  assert.equal(evictee(idle), 'b');
  assert.equal(evictee(idle.map((one) => ({ ...one, flow: 0 }))), 'a', 'one flow alone: the least recently used');
});
