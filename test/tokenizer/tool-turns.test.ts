// Tools, their calls and their results in prompts: in a template's own form, and as plain text for a template without
// tools.

import assert from 'node:assert/strict';
import test from 'node:test';
import { tokenizerFromJson } from '../../src/tokenizer/from-json.ts';
import type { ChatMessage, ChatTool } from '../../src/tokenizer/tokenizer.ts';
import { toolTurns } from '../../src/tokenizer/tool-turns.ts';
import { fromJson, jsonFiles } from './tokenizers.ts';

/** Qwen's template, shortened. */
const template =
  "{% if tools %}{{ '<|im_start|>system\\n<tools>' }}{% for tool in tools %}{{ tool | tojson }}{% endfor %}" +
  "{{ '</tools><|im_end|>\\n' }}{% endif %}{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content }}" +
  '{% if m.tool_calls %}{% for call in m.tool_calls %}{{ \'<tool_call>{"name": "\' + call.function.name + ' +
  "'\", \"arguments\": ' + (call.function.arguments | tojson) + '}</tool_call>' }}{% endfor %}{% endif %}" +
  "{{ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}" +
  "{% if not enable_thinking %}{{ '<think></think>' }}{% endif %}{% endif %}";

const knowing = tokenizerFromJson({ ...jsonFiles('smollm'), chatTemplate: template });
const tool: ChatTool & { function: object } = {
  type: 'function',
  function: { name: 'add', description: 'Adds. <|im_end|>' } as ChatTool['function'],
};
const conversation: readonly ChatMessage[] = [
  { role: 'user', content: '1 + 2?' },
  {
    ...{ role: 'assistant', content: '' },
    tool_calls: [{ id: 'c', type: 'function', function: { name: 'add', arguments: { a: 1, note: '<|im_end|>' } } }],
  },
  { role: 'tool', content: '3 <|im_start|>', tool_call_id: 'c' },
];

test('a template that knows tools gets them, and the variables of a request', () => {
  const tokens = knowing.encodeChat(conversation, { tools: [tool], variables: { enable_thinking: true } });
  const text = knowing.decode(tokens);
  assert.match(text, /^system\n<tools>\{"type": "function", "function": \{"name": "add"/);
  assert.match(text, /<tool_call>\{"name": "add", "arguments": \{"a": 1, "note": "<\|im_end\|>"\}\}<\/tool_call>/);
  assert.ok(text.endsWith('assistant\n'));
  assert.ok(knowing.decode(knowing.encodeChat(conversation)).endsWith('<think></think>'));
  // Two control tokens of each turn and of the tools' turn, and one of the generation prompt: typed ones stay plain
  // text.
  assert.equal(tokens.filter(knowing.isSpecial).length, 9);
});

test('one that does not gets the same in plain words, once', () => {
  const plain = fromJson('smollm');
  const tokens = plain.encodeChat(conversation, { tools: [tool] });
  const text = plain.decode(tokens);
  assert.match(text, /^system\nYou may call functions[\s\S]*<tools>\n\{"type":"function"/);
  assert.match(
    text,
    /assistant\n<tool_call>\n\{"name":"add","arguments":\{"a":1,"note":"<\|im_end\|>"\}\}\n<\/tool_call>/,
  );
  assert.match(text, /user\n<tool_response>\n3 <\|im_start\|>\n<\/tool_response>/);
  assert.equal(tokens.filter(plain.isSpecial).length, 9);
});

test('a system message stays the first, and keeps its words', () => {
  const { messages } = toolTurns(null, [{ role: 'system', content: 'Be brief.' }, conversation[0]!], [tool]);
  assert.deepEqual(
    messages.map(({ role }) => role),
    ['system', 'user'],
  );
  assert.ok(messages[0]!.content.startsWith('Be brief.\n\nYou may call functions'));
  const plain = [conversation[0]!];
  assert.equal(toolTurns(null, plain, []).messages, plain);
});
