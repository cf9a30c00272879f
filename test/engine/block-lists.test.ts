// Lists of blocks against a plain model of what lies in each place of each block.

import assert from 'node:assert/strict';
import test from 'node:test';
import { kvBlock } from '../../src/core/page-sizes.ts';
import { prng } from '../../src/core/prng.ts';
import { BlockLists } from '../../src/engine/kv/block-lists.ts';
import { probeRow } from '../../src/engine/kv/kv-cache.ts';
import { PrefixChain } from '../../src/engine/kv/prefix-cache.ts';

const rows = 4;
const forRows = 18;
const longest = 4 * kvBlock;

/** A sequence that runs in a row, or waits for one again. */
type Runner = { tokens: number[]; chain: PrefixChain; row: number | null; computed: number };

/** The content at a position depends on all tokens up to it. */
const contentAt = (tokens: readonly number[], position: number) => tokens.slice(0, position + 1).join(' ');

function storm(seed: number, prefixBlocks: number): { returns: number; whole: number } {
  const random = prng(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  const lists = new BlockLists({ rows, blocks: forRows + prefixBlocks + 2, forRows, prefixBlocks });
  const memory = new Map<string, string>();
  const runners: Runner[] = [];
  const counts = { returns: 0, whole: 0 };
  const freeRow = () => [...Array(rows).keys()].find((row) => runners.every((one) => one.row !== row));
  const place = (row: number, position: number) =>
    `${lists.of(row)[Math.floor(position / kvBlock)]} ${position % kvBlock}`;
  const check = ({ tokens, row, computed }: Runner) => {
    for (let i = 0; i < computed; i++) assert.equal(memory.get(place(row!, i)), contentAt(tokens, i));
  };
  const write = (runner: Runner, count: number) => {
    const { tokens, row, computed } = runner;
    if (!lists.reserve(row!, computed + count)) return;
    for (let i = computed; i < computed + count; i++) memory.set(place(row!, i), contentAt(tokens, i));
    runner.computed += count;
    lists.keep(row!, runner.chain, runner.computed);
  };
  for (let step = 0; step < 400; step++) {
    const runner = runners[below(runners.length)];
    const kind = below(10);
    if (kind === 0 || !runner) {
      // Texts share one of two beginnings, and then differ.
      const tokens = Array.from({ length: longest }, (_, i) => (i < 40 ? (step % 2) * 50 : below(3)) + i);
      runners.push({ tokens, chain: new PrefixChain([], `${step % 3}`, tokens, longest), row: null, computed: 0 });
    } else if (runner.row === null) {
      const row = freeRow();
      if (row === undefined) continue;
      const before = runner.computed;
      runner.row = row;
      runner.computed = lists.begin(row, runner.chain, longest - 1);
      if (before > 0) counts.returns++;
      if (before > 0 && runner.computed >= before) counts.whole++;
    } else if (kind < 7) {
      write(runner, 1 + below(Math.min(24, longest - runner.computed)));
    } else if (kind < 9 && runner.computed > 0) {
      lists.leave(runner.row, runner.chain, runner.computed);
      lists.clear(runner.row);
      runner.row = null;
    } else {
      lists.clear(runner.row);
      runners.splice(runners.indexOf(runner), 1);
    }
    for (const one of runners) if (one.row !== null) check(one);
    for (const one of runners) if (one.computed === longest) runners.splice(runners.indexOf(one), 1);
    for (let row = 0; row < rows; row++) if (runners.every((one) => one.row !== row)) lists.clear(row);
    assert.ok(lists.blocks <= prefixBlocks);
  }
  for (let row = 0; row < rows; row++) lists.clear(row);
  // Nothing was lost: the probe's row can take every block.
  assert.equal(lists.usage, 0);
  assert.ok(lists.reserve(probeRow, (forRows + prefixBlocks + 2) * kvBlock));
  assert.equal(lists.blocks, 0);
  return counts;
}

test('what a row begins with lies in its blocks, and nobody writes where another reads', () => {
  for (let seed = 1; seed <= 60; seed++) storm(seed, seed % 5);
});

test('who lost its row goes on where it was, where there is room to keep its blocks', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { returns, whole } = storm(seed, 400);
    assert.ok(returns > 5);
    assert.equal(whole, returns);
  }
});
