// The parts of an example's card that are measured: its table of answers, and how it was trained. Everything else of
// the card is written by hand and stays. Pure.

import type { Provenance } from '../src/server/schemas/adapters.ts';

export type Answered = {
  readonly question: string;
  /** By the row. */
  readonly expected: string;
  /** By the base model. */
  readonly without: string;
  readonly answer: string;
};

export type Figures = Pick<Provenance, 'hyperparameters' | 'steps' | 'trained_tokens' | 'valid_loss' | 'loss_curve'> & {
  readonly parameters: number;
  readonly answers: readonly Answered[];
};

const shownAnswers = 3;
/** Of what the base model says instead. */
const shownChars = 120;

/** Where the answers are exact ones the card's table shows them as code, and the training says how many are right. */
export function withFigures(card: string, figures: Figures): string {
  const measured = /^(\|.*\n\|[-| ]+\|\n)[\s\S]*?(^## Training\n.*?\.) [\s\S]*?(?=^## Limits)/m;
  if (!measured.test(card)) throw new Error('the card lacks its table, or `## Training` before `## Limits`');
  const rows = figures.answers.slice(0, shownAnswers).map((answered) => tableRow(answered, isExact(figures)));
  return card.replace(
    measured,
    (_, head: string, about: string) => `${head}${rows.join('')}\n${about} ${trainingText(figures)}\n\n`,
  );
}

const right = ({ answers }: Figures) => answers.filter(({ answer, expected }) => answer === expected).length;
const isExact = (figures: Figures) => right(figures) > figures.answers.length / 2;

function tableRow({ question, without, answer }: Answered, isCode: boolean): string {
  const said = without.length > shownChars ? `${without.slice(0, shownChars).replace(/\S*$/, '')}...` : without;
  return `| ${cell(question)} | ${cell(said)} | ${isCode ? `\`${answer.replaceAll('|', '\\|')}\`` : cell(answer)} |\n`;
}

const cell = (text: string) => text.replace(/\s+/g, ' ').replace(/[|`*]/g, '\\$&').trim();

function trainingText(figures: Figures): string {
  const { hyperparameters, parameters, steps, trained_tokens, valid_loss, loss_curve, answers } = figures;
  const { r, alpha, target_modules, batch_size, learning_rate, seed } = hyperparameters;
  const linears = (target_modules as string[]).map((module) => module.replace('_proj', '')).join(', ');
  const losses = loss_curve.map(({ train_loss }) => train_loss);
  const [first, last] = [mean(losses.slice(0, 3)), mean(losses.slice(-3))];
  const size = `r = ${r}, alpha = ${alpha} on ${linears} (${count(parameters)} parameters, float16)`;
  const passes = `${steps} steps of ${batch_size} rows (${count(trained_tokens)} tokens)`;
  const settings = `AdamW at ${learning_rate} with linear decay, seed ${seed}, on the Q4_1 file's weights that serve`;
  const heldOut = `${valid_loss!.toFixed(2)} after it on ${answers.length} held-out rows`;
  const loss = `Loss ${first} to ${last} in training, ${heldOut}`;
  const exact = isExact(figures) ? `; ${right(figures)} of their answers are exactly the expected ones` : '';
  return `${size}. ${passes}, ${settings}. ${loss}${exact}. Made by \`npm run train:examples\`.`;
}

const mean = (values: readonly number[]) => (values.reduce((sum, value) => sum + value, 0) / values.length).toFixed(2);
const count = (value: number) => value.toLocaleString('en-GB');
