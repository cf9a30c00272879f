// Measures what a constrained output costs a token: eight rows under a JSON schema, eight free ones, and four of each,
// in turns on one engine; and checks that all answers are valid.
//
//     npm run bench:structured -- [--rounds 5] [--tokens 64] [--model model.gguf]

import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { Check } from 'typebox/schema';
import type { Grammar } from '../src/core/grammar.ts';
import { readGguf } from '../src/models/read-gguf.ts';
import { jsonSchemaText } from '../src/server/generation/structured-output.ts';
import { loadTokenizer } from '../src/tokenizer/load.ts';
import { tokenTable } from '../src/tokenizer/token-table.ts';
import { type Asked, findModel, loneEngine } from './engine/lone-engine.ts';
import { describeMachine } from './machine.ts';
import { spread } from './statistics.ts';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    tokens: { type: 'string', default: '64' },
  },
});
const [rounds, maxTokens, rows] = [Number(flags.rounds), Number(flags.tokens), 8];

const model = await findModel(flags.model);
const tokenizer = await loadTokenizer(model, (path) => readGguf(path).metadata);
const engine = await loneEngine(model, { tokens: tokenTable(tokenizer) });

const work = {
  type: 'object',
  properties: {
    title: { type: 'string', maxLength: 24 },
    kind: { enum: ['novel', 'poem', 'play'] },
    year: { type: 'integer', minimum: 0, maximum: 2100 },
    tags: { type: 'array', items: { type: 'string', maxLength: 12 }, maxItems: 3 },
    author: {
      type: 'object',
      properties: { name: { type: 'string', maxLength: 24 } },
      required: ['name'],
      additionalProperties: false,
    },
  },
  required: ['title', 'kind', 'year', 'tags', 'author'],
  additionalProperties: false,
};
const grammarOf = (schema: object): Grammar => ({ kind: 'json_schema', text: jsonSchemaText(schema) });
/** A grammar whose output never ends before the tokens do. */
const endless = grammarOf({ type: 'array', items: work, minItems: 1000 });
const finite = grammarOf(work);

const messages = [{ role: 'user', content: 'Name a work of literature, as JSON: title, kind, year, tags, author.' }];
const prompt = tokenizer.encodeChat(messages);
const [free, formed]: readonly Omit<Asked, 'params'>[] = [{ prompt }, { prompt, grammar: endless }];
const batches = {
  free: Array.from({ length: rows }, () => free!),
  formed: Array.from({ length: rows }, () => formed!),
  mixed: Array.from({ length: rows }, (_, i) => (i % 2 ? free! : formed!)),
};

/** Milliseconds for each token of the batch, while all of its rows decode. */
async function tokenMs(kind: keyof typeof batches, round: number): Promise<number> {
  const asked = batches[kind].map((one, i) => ({
    ...one,
    params: { temperature: 0.7, seed: round * rows + i, maxTokens },
  }));
  const answers = await engine.ask(asked);
  if (answers.some(({ tokens }) => tokens.length !== maxTokens)) throw new Error('an answer ended before its time');
  return spread(answers.map(({ end }) => end.timings.decodeMs / (maxTokens - 1))).median;
}

const kinds = Object.keys(batches) as (keyof typeof batches)[];
const found = Object.fromEntries(kinds.map((kind) => [kind, [] as number[]])) as Record<keyof typeof batches, number[]>;
await tokenMs('formed', 1000);
for (let round = 0; round < rounds; round++) {
  // The order alternates.
  const order = [...kinds.slice(round % kinds.length), ...kinds.slice(0, round % kinds.length)];
  for (const kind of order) found[kind].push(await tokenMs(kind, round));
}

/** Counts the answers, of `count`, that do not end by themselves or are not valid under the schema. */
async function invalid(count: number): Promise<number> {
  const asked = Array.from({ length: count }, (_, seed) => {
    const params = { temperature: 1, seed, maxTokens: 400, stopTokens: tokenizer.eosTokens };
    return { prompt, grammar: finite, params };
  });
  const answers = await engine.ask(asked);
  const isValid = (text: string) => {
    try {
      return Check(work, JSON.parse(text));
    } catch {
      return false;
    }
  };
  return answers.filter(({ end, tokens }) => end.reason !== 'stop' || !isValid(tokenizer.decode(tokens))).length;
}

const answered = 4 * rows;
const broken = await invalid(answered);
const results = Object.fromEntries(
  kinds.map((kind) => [
    kind,
    { msPerToken: spread(found[kind]), ratio: spread(found[kind].map((ms, i) => ms / found.free[i]!)) },
  ]),
);
for (const [kind, { msPerToken, ratio }] of Object.entries(results)) {
  const range = `${ratio.min.toFixed(3)} to ${ratio.max.toFixed(3)}`;
  console.log(
    `${kind.padEnd(7)} ${msPerToken.median.toFixed(2)} ms a token, ${ratio.median.toFixed(3)} of free rows' (${range})`,
  );
}
console.log(`${answered - broken} of ${answered} answers are valid JSON of the schema`);
const machine = describeMachine();
const date = new Date().toISOString();
const file = new URL(`results/${date.slice(0, 10)}-structured.json`, import.meta.url);
const report = { date, machine, threads: engine.threads, rows, maxTokens, results, answered, invalid: broken };
writeFileSync(file, `${JSON.stringify(report, null, 2)}\n`);
console.log(`${machine.cpu}, ${engine.threads} threads, commit ${machine.commit}`);
process.exit(broken === 0 ? 0 : 1);
