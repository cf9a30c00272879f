// Small vocabularies under several families' pre-tokenisers give the same ids and texts as in Python, from both kinds
// of file.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { corpus, unpack, type Variant } from './fixtures.ts';
import { fromGguf, fromJson, raw, small } from './tokenizers.ts';

const texts = small.chosen.map((index) => corpus[index]!);

function check(tokenizer: ReturnType<typeof fromJson>, variant: Variant, byteLevel: boolean): void {
  texts.forEach((text, index) => {
    assert.deepEqual(tokenizer.encode(text, raw), unpack(variant.encoded[index]!), JSON.stringify(text));
  });
  for (const [tokens, text, textWithSpecial] of variant.decoded) {
    for (const [skipSpecial, expected] of [
      [true, text],
      [false, textWithSpecial],
    ] as const) {
      // For invalid bytes in a SentencePiece vocabulary this decoder keeps more than Python's; see decoder.ts.
      if (!byteLevel && expected.includes('\ufffd')) continue;
      assert.equal(tokenizer.decode(tokens, { skipSpecial }), expected);
    }
  }
}

describe('byte-level vocabularies equal Python', () => {
  for (const [name, variant] of Object.entries(small.byteVariants)) {
    it(`${name} from tokenizer.json`, () => check(fromJson(name), variant, true));
    it(`${name} from GGUF`, () => check(fromGguf(name), variant, true));
  }
});

describe('SentencePiece vocabularies equal Python', () => {
  for (const [name, variant] of Object.entries(small.pieceVariants)) {
    it(`${name} from tokenizer.json`, () => check(fromJson(name), variant, false));
    // GGUF cannot express that only the first text gets a space.
    if (name !== 'metaspace') it(`${name} from GGUF`, () => check(fromGguf(name), variant, false));
  }
});

it('reads control tokens in text only where asked', () => {
  const tokenizer = fromJson('smollm');
  const [start] = tokenizer.encode('<|im_start|>', raw);
  assert.ok(tokenizer.isSpecial(start!));
  const typed = tokenizer.encode('a<|im_start|>b', { addSpecialTokens: true, parseSpecial: false });
  assert.ok(typed.length > 3 && !typed.some(tokenizer.isSpecial));
  assert.equal(tokenizer.decode(typed), 'a<|im_start|>b');
});

it('reads added tokens that are text whether or not control tokens are read', () => {
  const tokenizer = fromJson('qwen2');
  const [think] = tokenizer.encode('<think>', raw);
  assert.deepEqual(tokenizer.encode('<think>', { addSpecialTokens: false, parseSpecial: false }), [think]);
  assert.equal(tokenizer.decode([think!]), '<think>');
});

it('adds the beginning-of-sequence token only where asked', () => {
  const tokenizer = fromGguf('llama-bpe');
  const [bos, ...rest] = tokenizer.encode('Hi', raw);
  assert.equal(tokenizer.decode([bos!], { skipSpecial: false }), '<|begin_of_text|>');
  assert.deepEqual(tokenizer.encode('Hi', { addSpecialTokens: false, parseSpecial: true }), rest);
});
