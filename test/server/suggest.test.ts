import assert from 'node:assert/strict';
import { test } from 'node:test';
import { suggest } from '../../src/server/http/suggest.ts';

const known = ['prompt', 'max_tokens', 'top_k', 'top_p', 'adapter_id', 'stop'];

test('a name within two edits is suggested, the nearest first', () => {
  assert.equal(suggest('promt', known), 'prompt');
  assert.equal(suggest('topp', known), 'top_p');
  assert.equal(suggest('max_token', known), 'max_tokens');
  assert.equal(suggest('adapterId', known), 'adapter_id');
});

test('another server’s word is translated', () => {
  assert.equal(suggest('n_predict', known), 'max_tokens');
  assert.equal(suggest('inputs', known), 'prompt');
});

test('a far name, or one as short as its edits, is not guessed', () => {
  assert.equal(suggest('frobnicate', known), null);
  assert.equal(suggest('', ['n']), null);
  assert.equal(suggest('n_predict', ['stop']), null);
});
