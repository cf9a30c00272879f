import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { readDataset } from '../../src/training/dataset.ts';
import { rowEncoder } from '../../src/training/token-row.ts';
import { byteTokenizer, endToken, startToken } from '../helpers/byte-tokenizer.ts';
import { temporaryFolder } from '../helpers/tiny-lowered.ts';
import { fromJson } from '../tokenizer/tokenizers.ts';

const encode = rowEncoder(byteTokenizer());

function read(rows: readonly unknown[], tokensMax = 1000) {
  const path = join(temporaryFolder(), 'rows.jsonl');
  writeFileSync(path, rows.map((row) => `${typeof row === 'string' ? row : JSON.stringify(row)}\n`).join(''));
  return readDataset(path, encode, tokensMax);
}

const bytes = (text: string) => [...Buffer.from(text)];
const user = { role: 'user', content: 'a' };

test('the loss counts a completion and its end, not the prompt', async () => {
  const { rows, targets } = await read([{ prompt: 'ab', completion: 'cd' }]);
  assert.deepEqual([...rows[0]!.tokens], [...bytes('abcd'), endToken]);
  assert.deepEqual([...rows[0]!.counted], [0, 0, 1, 1, 1]);
  assert.equal(targets, 3);
});

test('the first token of all has nothing to be predicted from', async () => {
  const { rows, targets } = await read([{ prompt: '', completion: 'c' }]);
  assert.deepEqual([...rows[0]!.counted], [0, 1]);
  assert.equal(targets, 1);
});

test('control tokens in a prompt are read as a request reads them', async () => {
  const { rows } = await read([{ prompt: '<|start|>', completion: 'c' }]);
  assert.deepEqual([...rows[0]!.tokens], [startToken, ...bytes('c'), endToken]);
});

test('the loss counts the turns of the assistant that weigh something', async () => {
  const messages = [user, { role: 'assistant', content: 'bb', weight: 0 }, user, { role: 'assistant', content: 'c' }];
  const { rows, targets } = await read([{ messages }]);
  assert.equal(targets, 2);
  const counted = [...rows[0]!.tokens].filter((_, index) => rows[0]!.counted[index] === 1);
  assert.deepEqual(counted, [...bytes('c'), endToken]);
});

test('long rows are cut and counted; rows without a target are left out and counted', async () => {
  const dataset = await read(
    [
      { prompt: 'a', completion: 'bcdefgh' },
      { prompt: 'abcdefgh', completion: 'i' },
      { messages: [user, { role: 'assistant', content: 'b', weight: 0 }] },
      { prompt: 'a', completion: 'b' },
    ],
    5,
  );
  assert.deepEqual(
    dataset.rows.map(({ tokens }) => tokens.length),
    [5, 3],
  );
  assert.deepEqual([dataset.cut, dataset.skipped, dataset.targets], [3, 2, 6]);
});

test('a file without any target, and an empty one, are refused', async () => {
  await assert.rejects(read([]), { code: 'file_invalid', message: /no row with anything to learn/ });
  await assert.rejects(read([{ prompt: 'abcdefgh', completion: 'i' }], 5), {
    code: 'file_invalid',
    message: /1 without a target, 1 of them cut at 5 tokens/,
  });
});

test('a bad row is named by its line', async () => {
  const good = { prompt: 'a', completion: 'b' };
  await assert.rejects(read([good, '{']), { code: 'file_invalid', message: /^Line 2 is refused: it is not JSON/ });
  await assert.rejects(read([good, good, { prompt: 'a' }]), { message: 'Line 3 has no completion.' });
  const tools = {
    messages: [
      { role: 'function', content: '' },
      { role: 'assistant', content: '' },
    ],
  };
  await assert.rejects(read([tools]), { message: 'Line 1 has a messages[0].role that is not trained: "function".' });
});

test('with a real tokeniser, prompt and completion are the tokens that each is by itself', () => {
  const tokenizer = fromJson('smollm');
  const { tokens, counted } = rowEncoder(tokenizer)({ kind: 'completion', prompt: 'Name: ', completion: 'the end' });
  const prompt = tokenizer.encode('Name: ', { addSpecialTokens: true, parseSpecial: true });
  const completion = tokenizer.encode('the end', { addSpecialTokens: false, parseSpecial: true });
  assert.deepEqual([...tokens], [...prompt, ...completion, tokenizer.eosTokens[0]]);
  assert.equal(counted.indexOf(1), prompt.length);
});
