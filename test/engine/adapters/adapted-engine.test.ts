// The step loop with adapters over a decoder without arithmetic: who waits, who starts, what is copied.

import assert from 'node:assert/strict';
import test from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type HashDecoder, hashDecoder, overForward, tokensAlone } from '../hash-decoder.ts';
import { tokensOf, type Witness, type WitnessedEngine, witnessedEngine } from '../witnesses.ts';
import {
  type MarkedStoreOptions,
  marked,
  markedResident,
  markedStore,
  readSignature,
  signatureOf,
} from './marked-adapters.ts';

const vocabulary = 997;
const positions = 128;

type Options = Omit<MarkedStoreOptions, 'clock'> & { readonly rows: number; readonly slots: number };

function open({ rows, slots, ...options }: Options, watch = (decoder: HashDecoder) => decoder): WitnessedEngine {
  const decoder = watch(hashDecoder(rows, positions, vocabulary, slots, () => witnessed.wake()));
  const witnessed: WitnessedEngine = witnessedEngine(decoder, 64, (clock, onChange) =>
    markedStore({ clock, onChange, ...options }),
  );
  return witnessed;
}

function assertOwn(...witnesses: Witness[]): void {
  for (const witness of witnesses) {
    const { promptTokens, adapters } = witness.request;
    const alone = tokensAlone(promptTokens, vocabulary, positions, signatureOf(adapters));
    assert.deepEqual(tokensOf(witness), alone.slice(0, witness.events.length));
  }
}

test('in steady state nothing is copied: 50 steps of rows on several adapters', async () => {
  const witnessed = open({ rows: 8, slots: 32 });
  const weights = [[marked(1)], [marked(2)], [marked(1, 0.5)], [], [marked(4), marked(2, 2)], [marked(7)], [marked(7)]];
  const witnesses = weights.map((adapters, i) => witnessed.add([i], { maxTokens: 100 }, adapters));
  while (witnesses.some(({ events }) => events.length < 2)) await witnessed.turn();
  const copied = [];
  for (let step = 0; step < 50; step++) {
    const { tokens, stats, loads } = await witnessed.step();
    assert.equal(tokens.length, weights.length);
    copied.push(stats.adapters.copiedBytes + loads.length);
  }
  assert.deepEqual(copied, Array(50).fill(0));
  await witnessed.drain();
  // The same adapters again: their pages still hold them.
  const again = weights.map((adapters, i) => witnessed.add([i], { maxTokens: 5 }, adapters));
  let later = 0;
  while (!witnessed.engine.idle) later += (await witnessed.step()).stats.adapters.copiedBytes;
  assert.equal(later, 0);
  assertOwn(...witnesses, ...again);
});

test('one whose adapter loads holds nobody up', async () => {
  const witnessed = open({ rows: 2, slots: 8, turns: () => 60 });
  const slow = witnessed.add([1], { maxTokens: 3 }, [marked(1)]);
  const others = [2, 3, 4].map((token) => witnessed.add([token], { maxTokens: 4 }));
  await witnessed.drain();
  assert.ok(others.every(({ end }) => end!.reason === 'length'));
  assert.deepEqual([slow.end!.reason, slow.events.length], ['length', 3]);
  assertOwn(slow, ...others);
});

test('a row that ends lets the next one start, though nothing else happens', async () => {
  const witnessed = open({ rows: 4, slots: 2 });
  // Each adapter takes two pages, so one fits at a time.
  const witnesses = [10, 20, 30].map((mark) => witnessed.add([mark], { maxTokens: 4 }, [marked(mark)]));
  const base = open({ rows: 1, slots: 0 });
  for (let i = 0; i < 3; i++) base.add([i], { maxTokens: 2 });
  await witnessed.drain();
  await base.drain();
  assertOwn(...witnesses, ...base.witnesses);
});

test('those that fail make room for those behind them to be fetched', async () => {
  const witnessed = open({ rows: 1, slots: 4, turns: () => 3, broken: (mark) => mark < 5 });
  for (const mark of [1, 2, 3]) witnessed.add([mark], { maxTokens: 2 }, [marked(mark)]);
  const last = witnessed.add([9], { maxTokens: 2 }, [marked(5)]);
  await witnessed.drain();
  const reasons = witnessed.witnesses.map(({ end }) => end!.error?.code ?? end!.reason);
  assert.deepEqual(reasons, ['adapter_corrupt', 'adapter_corrupt', 'adapter_corrupt', 'length']);
  assertOwn(last);
});

test('an abort while the adapter loads leaves an engine that is idle, sound, and serves it later', async () => {
  const witnessed = open({ rows: 2, slots: 8, turns: () => 20 });
  const aborted = [witnessed.add([1], {}, [marked(1)]), witnessed.add([2], {}, [marked(2), marked(5)])];
  await witnessed.turn();
  for (const { request } of aborted) witnessed.engine.abort(request.id);
  await witnessed.turn();
  assert.ok(witnessed.engine.idle && aborted.every(({ end, started }) => end?.reason === 'abort' && !started));
  witnessed.engine.checkIntegrity();
  for (let turn = 0; turn < 50; turn++) await witnessed.turn();
  const later = witnessed.add([1], { maxTokens: 3 }, [marked(1)]);
  await witnessed.drain();
  await witnessed.settle();
  assertOwn(later);
});

test('an abort while pages fill: the next one gets them when they are whole', async () => {
  const witnessed = open({ rows: 1, slots: 2 });
  const first = witnessed.add([1], { maxTokens: 9 }, [marked(10)]);
  while (!first.started) await witnessed.turn();
  witnessed.engine.abort(0);
  const next = witnessed.add([2], { maxTokens: 3 }, [marked(20)]);
  await witnessed.drain();
  assert.deepEqual([first.end!.reason, next.end!.reason, next.events.length], ['abort', 'length', 3]);
  assertOwn(first, next);
});

test('too many pages, too many bytes: a typed error at once, and nobody else feels it', async () => {
  const { bytes } = markedResident(8);
  // Marks 8 and 9 have 5 and 16 pages; mark 8 takes all bytes of the budget.
  const witnessed = open({ rows: 4, slots: 6, bytesMax: bytes });
  const weights = [[marked(9)], [marked(8), marked(2)], [marked(8)], []];
  for (const adapters of weights) witnessed.add([1], { maxTokens: 3 }, adapters);
  await witnessed.drain();
  const reasons = witnessed.witnesses.map(({ end }) => end!.error?.code ?? end!.reason);
  assert.deepEqual(reasons, ['adapter_too_large', 'adapter_too_large', 'length', 'length']);
  assert.match(witnessed.witnesses[0]!.end!.error!.message, /LORIKEET_ADAPTER_PAGES, which is 6/);
  assert.match(witnessed.witnesses[1]!.end!.error!.message, /LORIKEET_ADAPTER_MEMORY/);
  assertOwn(...witnessed.witnesses);
});

test('a large adapter starts at last, though a popular one never stops coming', async (context) => {
  const rows = 4;
  const witnessed = open({ rows, slots: 8 });
  const popular = () => {
    const id = witnessed.witnesses.length;
    return witnessed.add([id % vocabulary], { maxTokens: 3 + (id % 11) }, [marked(1)]);
  };
  for (let i = 0; i < rows; i++) popular();
  while (!witnessed.witnesses[0]!.started) await witnessed.turn();
  // Takes all pages of `output`, of which the popular adapter would otherwise keep one for ever.
  const large = witnessed.add([5], { maxTokens: 2 }, [marked(17)]);
  const before = witnessed.witnesses.length;
  for (let turns = 0; !large.started; turns++) {
    assert.ok(turns < 3000, 'it starves');
    while (witnessed.witnesses.filter(({ end }) => end === null).length < 3 * rows) popular();
    await witnessed.turn();
  }
  const overtook = witnessed.witnesses.slice(before).filter(({ started }) => started).length;
  context.diagnostic(`${overtook} overtook it`);
  assert.ok(overtook > rows && overtook <= 4 * rows, `${overtook}`);
  await witnessed.drain();
  assertOwn(...witnessed.witnesses);
});

test('a sequence is never run before its pages are whole, and they stay so while it runs', async () => {
  let checks = 0;
  const witnessed = open({ rows: 4, slots: 4 }, (decoder) =>
    overForward(decoder, async (batch) => {
      const logits = await decoder.forward(batch);
      const signatures = () => batch.parts.map(({ adapter }) => readSignature(adapter, decoder.pages));
      const read = signatures();
      for (let turn = 0; turn < 15; turn++) await nextTurn();
      checks++;
      // The rows of the step read the same pages as at its start.
      assert.deepEqual(signatures(), read);
      return logits;
    }),
  );
  for (let i = 0; i < 60; i++)
    witnessed.add([i], { maxTokens: 1 + (i % 7) }, i % 5 === 0 ? [] : [marked(1 + (i % 23))]);
  await witnessed.drain();
  assert.ok(checks > 60);
  assertOwn(...witnessed.witnesses);
});

test('sequences whose pages cannot be filled end with an error, and others and later ones run', async (context) => {
  const told = context.mock.method(console, 'error', () => {});
  const witnessed = open({ rows: 8, slots: 16 }, (decoder) => {
    const { memory } = decoder.pages;
    const fill = memory.fill.bind(memory);
    let fails = true;
    memory.fill = async (linear, range, resident) => {
      const isOfThree = resident.parts.some(({ a }) => a[0] === 3);
      if (!fails || !isOfThree) return fill(linear, range, resident);
      fails = false;
      await nextTurn();
      throw new Error('the card refused');
    };
    return decoder;
  });
  const others = [[marked(1)], [], [marked(2, 0.5)]].map((adapters) => witnessed.add([7], { maxTokens: 12 }, adapters));
  const failing = [1, 2].map((token) => witnessed.add([token], { maxTokens: 12 }, [marked(3)]));
  await witnessed.drain();
  for (const { end, events } of failing) {
    assert.deepEqual([end!.reason, end!.error!.code, events.length], ['error', 'internal_error', 0]);
  }
  assert.match(String(told.mock.calls[0]!.arguments[0]), /the card refused/);
  const later = witnessed.add([5], { maxTokens: 12 }, [marked(3)]);
  await witnessed.drain();
  await witnessed.settle();
  for (const { end, events } of [...others, later]) assert.deepEqual([end!.reason, events.length], ['length', 12]);
  assertOwn(...others, later);
});

/** As in the real decoder, an adapter that overflows leaves NaN in its own rows. */
function overflowing(decoder: HashDecoder, mark: number): HashDecoder {
  return overForward(decoder, async (batch) => {
    const logits = await decoder.forward(batch);
    const rows = batch.parts.flatMap(({ adapter, sampled }) => sampled.map(() => adapter));
    for (const [i, row] of rows.entries()) {
      if (row?.adapter.key !== `sha256:${mark}`) continue;
      logits.fill(Number.NaN, i * decoder.vocabulary, (i + 1) * decoder.vocabulary);
    }
    return logits;
  });
}

test("an adapter that overflows ends its own sequence, and nobody else's", async () => {
  const witnessed = open({ rows: 8, slots: 16 }, (decoder) => overflowing(decoder, 3));
  const weights = [[marked(1)], [marked(3)], [], [marked(2, 0.5)], [marked(1)], [marked(4), marked(2)]];
  for (const adapters of weights) witnessed.add([7], { maxTokens: 12 }, adapters);
  await witnessed.drain();
  const [culprit, ...others] = [witnessed.witnesses[1]!, ...witnessed.witnesses.filter((_, i) => i !== 1)];
  assert.deepEqual([culprit.end!.reason, culprit.end!.error!.code], ['error', 'adapter_invalid']);
  assert.equal(culprit.events.length, 0);
  for (const witness of others) assert.deepEqual([witness.end!.reason, witness.events.length], ['length', 12]);
  assertOwn(...witnessed.witnesses);
});
