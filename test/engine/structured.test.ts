// Outputs with a grammar from a real engine on a tiny random model: whatever the model prefers, the output is valid,
// and rows beside it give what they give without it.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import { Check } from 'typebox/schema';
import { systemClock } from '../../src/core/clock.ts';
import type { Grammar } from '../../src/core/grammar.ts';
import { defaultSamplingParams, type SamplingParams } from '../../src/core/sampling-params.ts';
import { createBreath } from '../../src/engine/adapters/breath.ts';
import { Engine } from '../../src/engine/loop/engine.ts';
import { Merges } from '../../src/engine/merges/merges.ts';
import { createDecoder } from '../../src/engine/runner/decoder.ts';
import { applyMask } from '../../src/engine/sampling/grammar-mask.ts';
import { GrammarThread } from '../../src/grammar/grammar-thread.ts';
import type { SequenceEnd } from '../../src/protocol/messages.ts';
import { jsonSchemaText } from '../../src/server/generation/structured-output.ts';
import { loadTokenizer } from '../../src/tokenizer/load.ts';
import { tokenTable } from '../../src/tokenizer/token-table.ts';
import { boundedSchema, type JsonSchema } from '../grammar/schemas.ts';
import { testRuntime } from '../helpers/test-runtime.ts';
import { tinyFiles, tinyLowered } from '../helpers/tiny-lowered.ts';
import { markedStore } from './adapters/marked-adapters.ts';
import { markedArithmetic } from './merges/marked-merges.ts';

const rows = 8;
const tokenizer = await loadTokenizer(await tinyFiles('llama'), () => assert.fail('no GGUF'));
const decoder = createDecoder(testRuntime(), await tinyLowered('llama', 32), { rows, positions: 512 });
let wake = () => {};
const grammars = new GrammarThread({ table: tokenTable(tokenizer), onChange: () => wake() });
after(async () => {
  grammars.close();
  await decoder.release();
});

type Request = { readonly grammar?: Grammar; readonly params?: Partial<SamplingParams> };
type Output = { readonly tokens: number[]; end: SequenceEnd | null; readonly text: string };

/** Runs all requests at once, until the last has ended. */
async function generate(requests: readonly Request[]): Promise<Output[]> {
  const outputs = requests.map(() => {
    const tokens: number[] = [];
    return {
      tokens,
      end: null as SequenceEnd | null,
      get text() {
        return tokenizer.decode(tokens);
      },
    };
  });
  const engine: Engine = new Engine({
    decoder,
    adapters: markedStore({ clock: systemClock, onChange: () => wake() }),
    merges: new Merges({
      ...{
        decoder,
        adapters: markedStore({ clock: systemClock, onChange: () => wake() }),
        clock: systemClock,
        onChange() {},
      },
      ...{ breath: createBreath(systemClock), bytesMax: 0, arithmetic: markedArithmetic(), emit() {} },
    }),
    grammars,
    prefillChunk: 64,
    clock: systemClock,
    freshSeed: () => 1,
    emit({ tokens, ended }) {
      for (const { id, token } of tokens) outputs[id]!.tokens.push(token);
      for (const end of ended) outputs[end.id]!.end = end;
    },
  });
  for (const [id, { grammar, params }] of requests.entries()) {
    const stopTokens = [...tokenizer.eosTokens];
    engine.add({
      ...{ id, promptTokens: [3 + id, 9, 12], adapters: [] },
      params: { ...defaultSamplingParams, temperature: 1, seed: 7 + id, maxTokens: 400, stopTokens, ...params },
      ...(grammar ? { grammar } : {}),
    });
  }
  while (!engine.idle) {
    const woken = new Promise<void>((resolve) => {
      wake = resolve;
    });
    if (!engine.busy) await Promise.race([woken, setImmediate()]);
    await engine.step();
    engine.checkIntegrity();
  }
  return outputs;
}

const jsonOf = (schema: JsonSchema): Grammar => ({ kind: 'json_schema', text: jsonSchemaText(schema) });

test('every output of a random schema is valid, in batches with free rows and other filters', async () => {
  let ended = 0;
  const filters = fc.constantFrom<Partial<SamplingParams>>({}, { topP: 0.9 }, { topK: 20 }, { repetitionPenalty: 1.3 });
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(boundedSchema, filters), { minLength: 6, maxLength: 10 }), async (all) => {
      const outputs = await generate([...all.map(([schema, params]) => ({ grammar: jsonOf(schema), params })), {}]);
      for (const [i, [schema]] of all.entries()) {
        const { end, text } = outputs[i]!;
        assert.ok(end?.reason === 'stop' || end?.reason === 'length', JSON.stringify({ schema, end }));
        if (end.reason === 'length') continue;
        ended++;
        assert.ok(Check(schema, JSON.parse(text)), `${text} for ${JSON.stringify(schema)}`);
      }
    }),
    { numRuns: 12, seed: 5 },
  );
  assert.ok(ended > 60, `only ${ended} outputs came to an end`);
});

test('a free row says beside them what it says alone', async () => {
  const free = { params: { temperature: 1, maxTokens: 40 } };
  const [alone] = await generate([free]);
  const schema = { type: 'array', items: { type: 'integer' }, minItems: 5, maxItems: 9 };
  const [beside, structured] = await generate([free, { grammar: jsonOf(schema) }]);
  assert.deepEqual(beside!.tokens, alone!.tokens);
  assert.ok(Check(schema, JSON.parse(structured!.text)));
});

test('a row under a grammar says alone what it says in company, and after its thread was replaced', async () => {
  const schema = { type: 'array', items: { type: 'string', maxLength: 6 }, minItems: 5, maxItems: 9 };
  const filters: Partial<SamplingParams>[] = [{}, { temperature: 0 }, { topP: 0.9 }, { repetitionPenalty: 1.3 }];
  for (const params of filters) {
    const asked = { grammar: jsonOf(schema), params };
    const [alone] = await generate([asked]);
    assert.equal(alone!.end?.error, undefined);
    const [beside] = await generate([asked, {}, { grammar: jsonOf(schema) }, ...filters.map((params) => ({ params }))]);
    assert.deepEqual(beside!.tokens, alone!.tokens);
    grammars.close();
    const [again] = await generate([asked]);
    assert.deepEqual(again!.tokens, alone!.tokens);
  }
});

test('regular expressions and Lark, greedily too', async () => {
  const [regex, lark] = await generate([
    { grammar: { kind: 'regex', text: '(cat|dog)s? [0-9]{2}' }, params: { temperature: 0 } },
    { grammar: { kind: 'lark', text: 'start: "a" ("b" | "c")+ "."' } },
  ]);
  assert.match(regex!.text, /^(cat|dog)s? [0-9]{2}$/);
  assert.match(lark!.text, /^a[bc]+\.?$/);
});

test('one whose grammar is none ends alone, with a code', async () => {
  const [bad, good] = await generate([
    { grammar: { kind: 'regex', text: '(?=a)b' } },
    { grammar: { kind: 'regex', text: '[ab]{3}' } },
  ]);
  assert.equal(bad!.end?.error?.code, 'grammar_invalid');
  assert.match(good!.text, /^[ab]{3}$/);
});

test('a mask forbids what has no bit', () => {
  const logits = new Float32Array(70).fill(1);
  applyMask(Uint32Array.of(0b101, 0), logits);
  assert.deepEqual(
    [...logits.keys()].filter((token) => logits[token] === 1),
    [0, 2],
  );
});
