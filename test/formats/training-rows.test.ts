import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { limits } from '../../src/core/limits.ts';
import { parseTrainingRow } from '../../src/formats/training-rows.ts';

const parse = (row: unknown) => parseTrainingRow(JSON.stringify(row));
const user = { role: 'user', content: 'hi' };
const assistant = { role: 'assistant', content: 'hello' };

test('reads a prompt with its completion', () => {
  const row = { prompt: 'a', completion: '' };
  assert.deepEqual(parse(row), { kind: 'completion', ...row });
});

test('reads a conversation; the loss counts assistant turns without weight 0', () => {
  const row = parse({
    messages: [
      { role: 'developer', content: 'be brief' },
      { ...user, name: 'ann' },
      { ...assistant, weight: 0 },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { type: 'text', text: 'b' },
        ],
      },
      { ...assistant, weight: 1 },
    ],
  });
  assert.deepEqual(row, {
    kind: 'chat',
    messages: [
      { role: 'system', content: 'be brief', isTarget: false },
      { ...user, name: 'ann', isTarget: false },
      { ...assistant, isTarget: false },
      { role: 'user', content: 'a\nb', isTarget: false },
      { ...assistant, isTarget: true },
    ],
    tools: [],
  });
});

test('a row with tools: their calls are values, their results turns', () => {
  const add = { type: 'function', function: { name: 'add', parameters: { type: 'object' } } };
  const call = (args: unknown) => ({ id: 'c1', type: 'function', function: { name: 'add', arguments: args } });
  const row = parse({
    tools: [add],
    parallel_tool_calls: true,
    messages: [
      user,
      { role: 'assistant', content: null, tool_calls: [call('{"a":1}')] },
      { role: 'tool', content: '2', tool_call_id: 'c1' },
      assistant,
    ],
  });
  assert.deepEqual(row, {
    kind: 'chat',
    tools: [add],
    messages: [
      { ...user, isTarget: false },
      { role: 'assistant', content: '', tool_calls: [call({ a: 1 })], isTarget: true },
      { role: 'tool', content: '2', tool_call_id: 'c1', isTarget: false },
      { ...assistant, isTarget: true },
    ],
  });
});

const problems: readonly (readonly [string, unknown, string])[] = [
  ['no object', [], 'is not an object'],
  ['nothing known', {}, 'has neither messages nor prompt and completion'],
  ['half a row', { prompt: 'a' }, 'has no completion'],
  ['another half', { completion: 'a' }, 'has no prompt'],
  ['a number for a text', { prompt: 1, completion: 'a' }, 'has a prompt that is not a text'],
  ['null for a text', { prompt: 'a', completion: null }, 'has no completion'],
  ['an unknown key', { prompt: 'a', completion: 'b', promt: 'c' }, 'has an unknown key: "promt"'],
  ['both kinds', { messages: [assistant], prompt: 'a' }, 'has an unknown key: "prompt"'],
  ['tools of no kind', { messages: [assistant], tools: [{}] }, 'has a tools[0].type that is not "function"'],
  ['messages of another type', { messages: {} }, 'has messages that are not an array'],
  ['no assistant', { messages: [user] }, 'has no message of the assistant'],
  ['a message that is none', { messages: ['a'] }, 'has a messages[0] that is not an object'],
  ['a function', { messages: [{ role: 'function', content: '' }] }, 'has a messages[0].role that is not trained: '],
  ['a role of Object', { messages: [{ role: 'constructor', content: '' }] }, 'has a messages[0].role that is not '],
  ['no role', { messages: [{ content: '' }] }, 'has no messages[0].role'],
  ['no content', { messages: [{ role: 'user' }] }, 'has no messages[0].content'],
  ['a call of nothing', { messages: [{ ...assistant, tool_calls: [{}] }] }, 'has a messages[0].tool_calls[0].function'],
  ['a call by a user', { messages: [{ ...user, tool_calls: [] }] }, 'has messages[0].tool_calls in a turn of the user'],
  ['weight 2', { messages: [{ ...assistant, weight: 2 }] }, 'has a messages[0].weight that is neither 0 nor 1'],
  ['weight true', { messages: [{ ...assistant, weight: true }] }, 'has a messages[0].weight that is neither'],
  ['a user of weight', { messages: [{ ...user, weight: 1 }] }, 'has a messages[0].weight beside a turn of the user'],
  ['an image', { messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }, 'has a messages[0].content[0].type'],
];

for (const [name, row, problem] of problems) {
  test(`names what is wrong: ${name}`, () => {
    const found = parse(row);
    assert.ok('problem' in found && found.problem.startsWith(problem), JSON.stringify(found));
  });
}

test('null and empty mean absent, as in the answers of OpenAI that are taken back as rows', () => {
  const empty = { refusal: null, tool_calls: null, function_call: null, audio: null, annotations: [], weight: null };
  const messages = [
    { ...user, name: null },
    { ...assistant, ...empty },
  ];
  assert.deepEqual(parse({ messages, tools: [], parallel_tool_calls: false, functions: null }), {
    kind: 'chat',
    messages: [
      { ...user, isTarget: false },
      { ...assistant, isTarget: true },
    ],
    tools: [],
  });
});

test('refuses what is no JSON, and keys that occur twice', () => {
  for (const line of ['', '  ', '{', 'null', '{"prompt":"a","prompt":"b","completion":"c"}']) {
    assert.ok('problem' in parseTrainingRow(line), line);
  }
  const long = parseTrainingRow(JSON.stringify({ prompt: 'a'.repeat(limits.trainingRowChars), completion: '' }));
  assert.deepEqual(long, { problem: `is longer than ${limits.trainingRowChars} characters` });
});

test('never throws, whatever a line has in it', () => {
  const key = fc.constantFrom('prompt', 'completion', 'messages', 'role', 'content', 'weight', 'name', '__proto__');
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      fc.constantFrom('user', 'assistant', 0, 1, null),
      fc.dictionary(key, tie('tree')),
      fc.array(tie('tree')),
    ),
  }));
  fc.assert(
    fc.property(
      fc.oneof(
        tree.map((value) => JSON.stringify(value)),
        fc.string(),
      ),
      (line) => {
        const row = parseTrainingRow(line);
        assert.ok('problem' in row ? row.problem !== '' : row.kind !== undefined);
      },
    ),
  );
});
