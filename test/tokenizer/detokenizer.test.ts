// Any string comes back from its tokens, and pieces join to the whole without ever cutting a character.

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Tokenizer } from '../../src/tokenizer/tokenizer.ts';
import { fromGguf, fromJson, plain } from './tokenizers.ts';

const text = fc.oneof(fc.string({ unit: 'binary', maxLength: 60 }), fc.string({ unit: 'grapheme', maxLength: 40 }));

function pieces(tokenizer: Tokenizer, tokens: readonly number[], skipSpecial: boolean): string[] {
  const detokenizer = tokenizer.detokenizer({ skipSpecial });
  return [...tokens.map((token) => detokenizer.push(token)), detokenizer.flush()];
}

function joinsToWhole(tokenizer: Tokenizer): void {
  const tokens = fc.array(fc.nat({ max: tokenizer.vocabulary + 3 }), { maxLength: 40 });
  fc.assert(
    fc.property(tokens, fc.boolean(), (ids, skipSpecial) => {
      const parts = pieces(tokenizer, ids, skipSpecial);
      assert.equal(parts.join(''), tokenizer.decode(ids, { skipSpecial }));
      assert.ok(parts.every((part) => part.isWellFormed()));
    }),
    { numRuns: 400 },
  );
}

function givesBack(tokenizer: Tokenizer, texts: fc.Arbitrary<string>): void {
  fc.assert(
    fc.property(texts, (whole) => {
      const parts = pieces(tokenizer, tokenizer.encode(whole, plain), true);
      assert.equal(parts.join(''), whole);
    }),
    { numRuns: 400 },
  );
}

describe('byte-level', () => {
  const tokenizer = fromJson('smollm');
  it('joins to the whole, whatever the tokens', () => joinsToWhole(tokenizer));
  it('gives any string back', () => givesBack(tokenizer, text));
  it('holds the bytes of a character until it is complete', () => {
    const tokens = tokenizer.encode('🫠', plain);
    assert.ok(tokens.length > 1);
    const parts = pieces(tokenizer, tokens, true);
    assert.deepEqual(parts, [...tokens.slice(1).map(() => ''), '🫠', '']);
    assert.deepEqual(pieces(tokenizer, tokens.slice(0, -1), true).at(-1), '\ufffd');
  });
  it('goes on after a control token inside a character', () => {
    const tokens = tokenizer.encode('é字', plain);
    const [control] = tokenizer.eosTokens;
    assert.equal(pieces(tokenizer, [tokens[0]!, control!, ...tokens.slice(1)], true).join(''), 'é字');
  });
});

describe('SentencePiece', () => {
  for (const name of ['llama', 'gemma']) {
    const tokenizer = fromGguf(name);
    it(`${name} joins to the whole, whatever the tokens`, () => joinsToWhole(tokenizer));
  }
  it('gives any string back, but for its own mark of a space', () => {
    const unmarked = text.map((whole) => whole.replaceAll('\u2581', ' '));
    givesBack(fromJson('llama'), unmarked);
    givesBack(fromJson('gemma'), unmarked);
  });
  it('drops the space in front of the first word only', () => {
    const tokenizer = fromGguf('llama');
    const parts = pieces(tokenizer, tokenizer.encode('\x01 \x01', plain), true);
    assert.deepEqual(parts, ['', '\x01', ' ', '\x01', '']);
  });
});

it('tells the bytes of a token', () => {
  const tokenizer = fromJson('smollm');
  const tokens = tokenizer.encode(' café 🫠', plain);
  assert.equal(Buffer.concat(tokens.map((token) => tokenizer.tokenBytes(token))).toString(), ' café 🫠');
  assert.equal(tokenizer.tokenBytes(tokenizer.vocabulary).length, 0);
  const pieceTokens = fromJson('llama').encode('\x07', plain);
  assert.deepEqual([...fromJson('llama').tokenBytes(pieceTokens.at(-1)!)], [7]);
});
