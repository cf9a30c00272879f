// What is measured goes into an example's card, and what is written by hand stays.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type Figures, withFigures } from '../../adapters/card.ts';

const asked = { question: 'a | b?', expected: '{"a": 1}', without: 'word '.repeat(99), answer: '{"a": 1}' };
const figures: Figures = {
  hyperparameters: {
    ...{ r: 4, alpha: 8, target_modules: ['q_proj', 'v_proj'] },
    ...{ batch_size: 8, learning_rate: 0.003, seed: 1 },
  },
  ...{ steps: 4, trained_tokens: 1234, valid_loss: 0.126, parameters: 5678 },
  loss_curve: [4, 3, 2, 1].map((train_loss, index) => ({ step: index + 1, train_loss })),
  answers: [asked, asked, { ...asked, answer: 'no' }, { ...asked, question: 'not shown' }],
};

for (const name of ['order', 'pirate', 'shell']) {
  test(`${name}: table and training are new, the rest is as it was`, () => {
    const card = readFileSync(new URL(`../../adapters/${name}/README.md`, import.meta.url), 'utf8');
    const made = withFigures(card, figures);
    assert.match(made, /\n\| a \\\| b\? \| word .{100,120}\.\.\. \| `\{"a": 1\}` \|\n/);
    assert.doesNotMatch(made, /not shown/);
    const training = [
      'r = 4, alpha = 8 on q, v (5,678 parameters, float16). 4 steps of 8 rows (1,234 tokens)',
      'Loss 3.00 to 2.00 in training, 0.13 after it on 4 held-out rows; 3 of their answers are exactly the expected',
    ];
    for (const part of training) assert.ok(made.includes(part), made);
    for (const part of [/^[\s\S]*?(?=\n\| --- )/, /^## Training\n.*? end\./m, /^## Limits[\s\S]*/m]) {
      assert.equal(part.exec(made)![0], part.exec(card)![0]);
    }
    assert.equal(withFigures(made, figures), made);
  });
}

test('a card of another form is refused, not spoilt', () => {
  assert.throws(() => withFigures('# pirate\n', figures), /lacks its table/);
});
