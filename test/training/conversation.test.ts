// Where the assistant's turns are, in templates of every known kind.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { TrainingMessage } from '../../src/formats/training-rows.ts';
import { tokenizerFromJson } from '../../src/tokenizer/from-json.ts';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { encodeConversation } from '../../src/training/conversation.ts';
import { byteTokenizer } from '../helpers/byte-tokenizer.ts';
import { fromJson, jsonFiles } from '../tokenizer/tokenizers.ts';

const withTemplate = (chatTemplate: string) => tokenizerFromJson({ ...jsonFiles('smollm'), chatTemplate });

const turn = "{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}";
const ask = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
/** Tokenizers of templates by name, and the token that ends their turns. */
const templates: Readonly<Record<string, readonly [Tokenizer, string]>> = {
  bytes: [byteTokenizer(), '<|end|>'],
  chatml: [fromJson('smollm'), '<|im_end|>'],
  'a default system message': [
    withTemplate(
      `{% for m in messages %}{% if loop.first and m['role'] != 'system' %}` +
        `{{ '<|im_start|>system\\nYou are a helpful AI assistant<|im_end|>\\n' }}{% endif %}${turn}{% endfor %}${ask}`,
    ),
    '<|im_end|>',
  ],
  'a header without a control token': [
    withTemplate(
      `{% for m in messages %}{% if m['role'] == 'assistant' %}{{ ' ' + m['content'] + '<|endoftext|>' }}{% else %}` +
        `{{ '<|im_start|>[INST] ' + m['content'] + ' [/INST]' }}{% endif %}{% endfor %}`,
    ),
    '<|endoftext|>',
  ],
  'earlier answers shortened': [
    withTemplate(
      `{% for m in messages %}{% if m['role'] == 'assistant' and not loop.last %}{{ '<|im_start|>assistant\\n' + ` +
        `m['content'].split('THOUGHT')[-1] + '<|im_end|>\\n' }}{% else %}${turn}{% endif %}{% endfor %}${ask}`,
    ),
    '<|im_end|>',
  ],
};

const say = (role: TrainingMessage['role'], content: string, isTarget = role === 'assistant'): TrainingMessage => ({
  ...{ role, content, isTarget },
});

function spoken(tokenizer: Tokenizer, messages: readonly TrainingMessage[]): string[] {
  const { tokens, spans } = encodeConversation(tokenizer)(messages);
  return spans.map(([start, end]) => tokenizer.decode(tokens.slice(start, end), { skipSpecial: false }));
}

const text = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '\n', 'ü', '<|im_end|>', '[/INST]'), minLength: 1 });
const content = text.map((middle) => `x${middle}y`);

for (const [name, [tokenizer, end]] of Object.entries(templates)) {
  test(`answers and their ends are found: ${name}`, () => {
    const exchange = fc.tuple(content, content, fc.boolean());
    const exchanges = fc.array(exchange, { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(exchanges, fc.option(content), (exchanges, system) => {
        const messages = exchanges.flatMap(([question, answer, isTarget]) => [
          say('user', question),
          say('assistant', answer, isTarget),
        ]);
        if (system !== null) messages.unshift(say('system', system));
        const expected = exchanges.filter(([, , isTarget]) => isTarget).map(([, answer]) => `${answer}${end}`);
        assert.deepEqual(
          spoken(tokenizer, messages).map((answer) => answer.replace(/^ /, '')),
          expected,
        );
      }),
      { numRuns: 50 },
    );
  });
}

test('an answer that stands first, and answers that follow one another', () => {
  const messages = [say('assistant', 'a'), say('assistant', 'b'), say('user', 'c'), say('assistant', 'd')];
  const [tokenizer] = templates.chatml!;
  assert.deepEqual(spoken(tokenizer, messages), ['a<|im_end|>', 'b<|im_end|>', 'd<|im_end|>']);
});

test('an answer that begins with a newline keeps it', () => {
  const tokenizer = withTemplate(`{% for m in messages %}${turn}{% endfor %}${ask}`);
  const answer = spoken(tokenizer, [say('user', 'a'), say('assistant', '\n\nb')]);
  assert.match(answer[0]!, /^\n+b<\|im_end\|>$/);
});

test('what the template drops of an answer is not learnt', () => {
  const [tokenizer] = templates['earlier answers shortened']!;
  const messages = [say('user', 'a'), say('assistant', 'hmTHOUGHTb'), say('user', 'c'), say('assistant', 'hmTHOUGHTd')];
  assert.deepEqual(spoken(tokenizer, messages), ['b<|im_end|>', 'hmTHOUGHTd<|im_end|>']);
});

test('a template that does not end turns is refused, and one that is not there', () => {
  const messages = [say('user', 'a'), say('assistant', 'b')];
  const endless = withTemplate("{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}");
  assert.throws(() => spoken(endless, messages), { code: 'chat_template_failed', param: 'messages[1]' });
  const none = tokenizerFromJson({ tokenizerJson: jsonFiles('smollm').tokenizerJson });
  assert.throws(() => spoken(none, messages), { code: 'chat_template_failed' });
});
