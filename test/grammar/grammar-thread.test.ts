// The thread that computes masks, and its treatment of wrong, hostile or slow grammars.

import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import type { Timers } from '../../src/core/clock.ts';
import type { LorikeetError } from '../../src/core/errors.ts';
import type { Grammar, TokenTable } from '../../src/core/grammar.ts';
import { onBehalfOf } from '../../src/core/on-behalf.ts';
import { GrammarChecker } from '../../src/grammar/grammar-checker.ts';
import { type Constraint, GrammarThread, type GrammarThreadOptions } from '../../src/grammar/grammar-thread.ts';

const end = Buffer.from('\xff<end>', 'latin1');
const table: TokenTable = {
  bytes: new Uint8Array(Buffer.concat([Uint8Array.from({ length: 128 }, (_, byte) => byte), end])),
  ends: Uint32Array.from({ length: 129 }, (_, i) => (i < 128 ? i + 1 : 128 + end.length)),
  eosTokens: [128],
};

function threadFor(t: TestContext, options: Partial<GrammarThreadOptions> = {}): GrammarThread {
  const thread = new GrammarThread({ table, ...options });
  t.after(() => thread.close());
  return thread;
}

/** Lists the tokens that the mask allows next. */
async function allowed(constraint: Constraint): Promise<number[]> {
  assert.equal(await constraint.first([]), null);
  const { words } = constraint;
  return [...Array(129).keys()].filter((token) => ((words[token >> 5]! >>> (token & 31)) & 1) === 1);
}

const regex = (text: string): Grammar => ({ kind: 'regex', text });
const failsWith = (code: string) => (error: LorikeetError) => error.code === code;

test('a mask says what may come next, and the end where the text is whole', async (t) => {
  const constraint = threadFor(t).open(regex('ab|ac'));
  assert.equal(constraint.isReady, false);
  await constraint.ready;
  assert.equal(constraint.isReady, true);
  assert.deepEqual(await allowed(constraint), [97]);
  constraint.accept(97);
  assert.deepEqual(await allowed(constraint), [98, 99]);
  constraint.accept(98);
  assert.deepEqual(await allowed(constraint), [128]);
  constraint.release();
});

test('the first of some tokens that may come is taken; where none may, a mask is there', async (t) => {
  const constraint = threadFor(t).open(regex('ab[a-z]{300}'));
  assert.equal(await constraint.first([98, 128, 97]), null);
  assert.deepEqual(await allowed(constraint), [97]);
  assert.equal(await constraint.first([98, 97, 99]), 97);
  assert.equal(await constraint.first([97, 400, 98]), 98);
  // Enough tokens that masks are made which nobody asks for.
  for (let i = 0; i < 300; i++) assert.equal(await constraint.first([65, 97 + (i % 26)]), 97 + (i % 26));
  assert.equal(await constraint.first([97]), null);
  assert.deepEqual(await allowed(constraint), [128]);
});

test('the same grammar twice: each matcher goes its own way', async (t) => {
  const thread = threadFor(t);
  const [one, other] = [thread.open(regex('(ab)+')), thread.open(regex('(ab)+'))];
  assert.equal(await one.first([97]), 97);
  assert.deepEqual([await allowed(one), await allowed(other)], [[98], [97]]);
});

test('what is asked of a grammar that is none is refused as the grammar is', async (t) => {
  const thread = threadFor(t);
  const bad = thread.open(regex('('));
  const asked = bad.first([]);
  await assert.rejects(bad.ready, failsWith('grammar_invalid'));
  await assert.rejects(asked, failsWith('grammar_invalid'));
  await assert.rejects(bad.first([97]), failsWith('grammar_invalid'));
  assert.equal(await thread.open(regex('a')).first([97]), 97);
});

test('what is no grammar, what is not supported and what costs too much is refused by its code', async (t) => {
  const checker = new GrammarChecker();
  t.after(() => checker.close());
  await checker.check(regex('a+'));
  const json = (schema: unknown): Grammar => ({ kind: 'json_schema', text: JSON.stringify(schema) });
  let deep: object = { type: 'string' };
  for (let i = 0; i < 500; i++) deep = { type: 'array', items: deep };
  const invalid = [
    regex('(?=a)b'),
    regex('('),
    { kind: 'lark', text: 'start: missing' } as const,
    json({ type: 'objekt' }),
    json({ not: { type: 'string' } }),
    json({ type: 'array', uniqueItems: true }),
    json({ $ref: 'http://elsewhere/x' }),
    json({ enum: [] }),
    json({ type: 'string', format: 'weird' }),
    { kind: 'json_schema', text: '{' } as const,
  ];
  for (const grammar of invalid) {
    await assert.rejects(checker.check(grammar), failsWith('grammar_invalid'), grammar.text.slice(0, 60));
  }
  const hostile = [
    json(deep),
    regex(`${'('.repeat(20_000)}a${')'.repeat(20_000)}`),
    regex('(((a{0,500}){0,500}){0,500}b){500}'),
    regex(`(${Array.from({ length: 400 }, (_, i) => `.*${'x'.repeat(i)}`).join('&')}){1,400}`),
    json({ anyOf: Array.from({ length: 20_000 }, (_, i) => ({ type: 'string', pattern: `^.*a.{${i % 97}}$` })) }),
  ];
  for (const grammar of hostile) {
    const started = process.hrtime.bigint();
    await checker.check(grammar).catch((error: LorikeetError) => {
      assert.match(error.code, /^grammar_(invalid|too_complex)$/);
    });
    const seconds = Number(process.hrtime.bigint() - started) / 1e9;
    assert.ok(seconds < 60, `${grammar.text.slice(0, 40)} took ${seconds} s`);
  }
  // The checker has survived all of them.
  await checker.check(regex('b+'));
});

test('a thread that begins late, on a machine that is busy elsewhere, refuses nothing', async (t) => {
  const entry = new URL('../fixtures/slow-grammar-thread.ts', import.meta.url);
  const constraint = threadFor(t, { answerMsMax: 3000, entry }).open(regex('ab'));
  assert.deepEqual(await allowed(constraint), [97]);
});

test('a thread that never begins is nobody’s fault: what waits is told to come again', async (t) => {
  let fire = () => {};
  const timers: Timers = {
    after(_ms, work) {
      fire = work;
      return () => {};
    },
  };
  const entry = new URL('../fixtures/slow-grammar-thread.ts', import.meta.url);
  const thread = threadFor(t, { timers, entry });
  const [one, other] = [thread.open(regex('ab')), thread.open(regex('cd'))];
  fire();
  for (const { ready } of [one, other]) await assert.rejects(ready, failsWith('server_overloaded'));
  // The next grammar gets a new thread.
  const next = thread.open(regex('ef'));
  assert.deepEqual(await allowed(next), [101]);
});

for (const fault of ['hang', 'trap']) {
  test(`a thread that meets a ${fault} is replaced, its work refused, and others go on where they were`, async (t) => {
    const entry = new URL('../fixtures/faulty-grammar-thread.ts', import.meta.url);
    const thread = threadFor(t, { answerMsMax: 4000, entry });
    const good = thread.open(regex('abcde'));
    assert.equal(await good.first([98, 97]), 97);
    assert.equal(await good.first([]), null);
    good.accept(98);
    const bad = thread.open(regex(fault));
    // The matcher behind the faulty one is asked again in the next thread.
    const asked = good.first([98, 99]);
    await assert.rejects(bad.ready, failsWith('grammar_too_complex'));
    assert.equal(bad.error?.code, 'grammar_too_complex');
    assert.equal(await asked, 99);
    assert.deepEqual(await allowed(good), [100]);
    assert.equal(good.error, null);
  });
}

test('grammars of one tenant are checked in turn with those of others', async (t) => {
  const checker = new GrammarChecker();
  t.after(() => checker.close());
  let done = 0;
  const flood = Array.from({ length: 200 }, (_, i) =>
    onBehalfOf('a', () => checker.check(regex(`a{1,${i + 1}}`))).then(() => done++),
  );
  await onBehalfOf('b', () => checker.check(regex('b')));
  assert.ok(done < 5, `${done} of 200 went before`);
  await Promise.all(flood);
});

test('work that hangs and that nobody waits for any more costs the others nothing', async (t) => {
  const entry = new URL('../fixtures/faulty-grammar-thread.ts', import.meta.url);
  const thread = threadFor(t, { answerMsMax: 4000, entry });
  const good = thread.open(regex('ab'));
  assert.equal(await good.first([97]), 97);
  thread.open(regex('hang')).release();
  assert.equal(await good.first([98]), 98);
});
