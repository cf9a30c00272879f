// Tool calls and thinking in outputs of every form, whole and cut anywhere.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { type CallForm, callFormOf } from '../../../src/server/generation/tools/call-forms.ts';
import {
  type OutputDelta,
  type OutputOptions,
  outputParser,
  type ParsedOutput,
  parseOutput,
} from '../../../src/server/generation/tools/output-parser.ts';

const hermes = callFormOf('<tool_call> tools');
const llama3 = callFormOf('tools "parameters"');
const mistral = callFormOf('[TOOL_CALLS] tools');

const optionsOf = (form: CallForm | null, thinking: OutputOptions['thinking'] = 'none'): OutputOptions => {
  let ids = 0;
  return { form, thinking, names: new Set(['look_up', 'add']), newId: () => `call_${++ids}` };
};

const call = (name: string, args: unknown, i = 1) => ({
  ...{ id: `call_${i}`, type: 'function', function: { name, arguments: JSON.stringify(args) } },
});

type Case = {
  readonly form: CallForm | null;
  readonly thinking?: OutputOptions['thinking'];
  readonly text: string;
  readonly content?: string;
  readonly reasoning?: string;
  readonly calls?: readonly unknown[];
};

const cases: Readonly<Record<string, Case>> = {
  'Hermes, one call': {
    form: hermes,
    text: '<tool_call>\n{"name":"add","arguments":{"a":1,"b":[2,"}"]}}\n</tool_call>',
    calls: [call('add', { a: 1, b: [2, '}'] })],
  },
  'Hermes, text and two calls': {
    form: hermes,
    text:
      'Let me see.<tool_call>{"name": "look_up", "arguments":{"q":"a \\"b\\" </tool_call>"}}</tool_call>\n' +
      '<tool_call>\n{"arguments": {"a": 1}, "name": "add"}\n</tool_call>\n',
    content: 'Let me see.',
    calls: [call('look_up', { q: 'a "b" </tool_call>' }), call('add', { a: 1 }, 2)],
  },
  'Hermes, no end mark': {
    form: hermes,
    text: '<tool_call>\n{"name":"add","arguments":{}}',
    calls: [call('add', {})],
  },
  'Hermes, arguments as text': {
    form: hermes,
    text: '<tool_call>{"name":"add","arguments":"{\\"a\\":1}"}</tool_call>',
    calls: [call('add', { a: 1 })],
  },
  'Hermes, an unknown name is text': {
    form: hermes,
    text: 'So <tool_call>{"name":"rm","arguments":{}}</tool_call> it is',
    content: 'So <tool_call>{"name":"rm","arguments":{}}</tool_call> it is',
  },
  'Hermes, no JSON is text': { form: hermes, text: 'x <tool_call> is a tag', content: 'x <tool_call>is a tag' },
  'Hermes, nothing but text': { form: hermes, text: 'a < b <tool', content: 'a < b <tool' },
  'Llama 3': {
    form: llama3,
    text: '{"name": "add", "parameters": {"a": 1}}; {"name":"look_up","parameters":{"q":"x"}}',
    calls: [call('add', { a: 1 }), call('look_up', { q: 'x' }, 2)],
  },
  'Llama 3, behind its control token': {
    form: llama3,
    text: '<|python_tag|>{"name": "add", "parameters": {"a": 1}}',
    calls: [call('add', { a: 1 })],
  },
  'Llama 3, text': { form: llama3, text: 'Yes, {"name": "add"} is one.', content: 'Yes, {"name": "add"} is one.' },
  'Llama 3, JSON that is no call': { form: llama3, text: '{"a": 1}', content: '{"a": 1}' },
  Mistral: {
    form: mistral,
    text: '[{"name": "add", "arguments": {"a": 1}}, {"name": "look_up", "arguments": {"q": "]"}}]',
    calls: [call('add', { a: 1 }), call('look_up', { q: ']' }, 2)],
  },
  'Mistral with its mark': {
    form: mistral,
    text: '[TOOL_CALLS] [{"name": "add", "arguments": {}}]',
    calls: [call('add', {})],
  },
  'thoughts and text': {
    ...{ form: null, thinking: 'marked' },
    text: '<think>\nHm </thin\n</think>\n\nFour.',
    reasoning: '\nHm </thin\n',
    content: 'Four.',
  },
  'no thoughts': { form: null, thinking: 'marked', text: ' <thing>', content: ' <thing>' },
  'thoughts that the prompt began, and a call': {
    ...{ form: hermes, thinking: 'open' },
    text: 'Well.</think>\n<tool_call>\n{"name":"add","arguments":{"a":1}}\n</tool_call>',
    reasoning: 'Well.',
    calls: [call('add', { a: 1 })],
  },
  'thoughts without an end': { form: null, thinking: 'marked', text: '<think>and so', reasoning: 'and so' },
};

for (const [name, { form, thinking, text, content = '', reasoning = '', calls = [] }] of Object.entries(cases)) {
  test(name, () => {
    const expected = { content, reasoning, calls };
    assert.deepEqual(canonical(parseOutput(optionsOf(form, thinking), text)), expected);
    const cuts = fc.uniqueArray(fc.integer({ min: 0, max: text.length }), { maxLength: text.length });
    fc.assert(
      fc.property(cuts, (places) => {
        const parser = outputParser(optionsOf(form, thinking));
        const edges = [0, ...places.toSorted((a, b) => a - b), text.length];
        const deltas = edges.slice(1).flatMap((end, i) => parser.push(text.slice(edges[i], end)));
        assert.deepEqual(canonical(joined([...deltas, ...parser.finish()])), expected);
      }),
      { numRuns: 60 },
    );
  });
}

/** Arguments are compared as JSON, since their text is the model's own. */
const canonical = ({ content, reasoning, calls }: ParsedOutput) => ({
  ...{ content, reasoning },
  calls: calls.map((call) => ({
    ...call,
    function: { ...call.function, arguments: JSON.stringify(JSON.parse(call.function.arguments)) },
  })),
});

function joined(deltas: readonly OutputDelta[]) {
  const parsed = { content: '', reasoning: '', calls: [] as ReturnType<typeof parseOutput>['calls'] };
  for (const delta of deltas) {
    if ('content' in delta) parsed.content += delta.content;
    else if ('reasoning' in delta) parsed.reasoning += delta.reasoning;
    else {
      const { index, id, function: part } = delta.call;
      if (id !== undefined) {
        assert.equal(index, parsed.calls.length, 'calls come one after another');
        parsed.calls.push({ id, type: 'function', function: { name: part.name!, arguments: '' } });
      }
      parsed.calls[index]!.function.arguments += part.arguments ?? '';
    }
  }
  return parsed;
}

test('arguments are told while they are written', () => {
  const parser = outputParser(optionsOf(hermes));
  assert.deepEqual(parser.push('<tool_call>\n{"name": "add", "arguments": {"a'), [
    { call: { index: 0, id: 'call_1', type: 'function', function: { name: 'add', arguments: '' } } },
    { call: { index: 0, function: { arguments: '{"a' } } },
  ]);
  assert.deepEqual(parser.push('": 1}}\n</tool'), [{ call: { index: 0, function: { arguments: '": 1}' } } }]);
  assert.deepEqual(parser.push('_call>'), []);
  assert.deepEqual(parser.finish(), []);
});
