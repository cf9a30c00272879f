// Tokens computed ahead against none, for one sequence: the same texts, in turns, on two engines of one process.
// `copy`: a passage that was there before is said again; `natural`: drawn text, which repeats itself seldom.
//
//     npm run bench:speculation -- [--rounds 3] [--tokens 96] [--model model.gguf]

import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { readGguf } from '../src/models/read-gguf.ts';
import { loadTokenizer } from '../src/tokenizer/load.ts';
import { type Asked, findModel, type LoneEngine, loneEngine } from './engine/lone-engine.ts';
import { describeMachine } from './machine.ts';
import { spread } from './statistics.ts';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    tokens: { type: 'string', default: '96' },
  },
});
const maxTokens = Number(flags.tokens);

const passages = [
  `The harbour office opens at six. Whoever brings a boat longer than nine metres signs the green book, pays for the
night in advance and gets a number, which is written on the left side of the bow with chalk. Fuel is sold until noon,
water all day. Dogs stay on board. In March the crane is mended, and masts are lifted on the other side of the river.`,
  `def total(rows):
    count = 0
    for row in rows:
        if row["status"] == "paid" and row["amount"] > 0:
            count = count + row["amount"] * row["quantity"]
    return count

def average(rows):
    paid = [row for row in rows if row["status"] == "paid"]
    return total(rows) / len(paid)`,
  `Dear Mrs Alvarez, thank you for your letter of the third of May. The lamp that you ordered was sent on the fifth and
should have reached you last week. Since it has not, we have asked the carrier, who says that nobody was at home. It
lies at the post office in Mill Street until the twentieth. Please bring this letter and the number 48-1177-C.`,
];
const subjects = [
  ...['Once upon a time, in a small village by the sea,', 'The most important thing about learning to cook is'],
  ...['Yesterday evening my neighbour told me about', 'In the history of astronomy, the first telescopes'],
];

const model = await findModel(flags.model);
const tokenizer = await loadTokenizer(model, (path) => readGguf(path).metadata);
const encode = (text: string) => tokenizer.encode(text, { addSpecialTokens: true, parseSpecial: false });
const copy = passages.map((text, i): Asked => {
  const prompt = encode(`${text}\n\n---\n\n${text}\n\n---\n\n${text.slice(0, 60)}`);
  return { prompt, params: { temperature: 0, maxTokens, seed: i } };
});
const natural = subjects.map(
  (text, i): Asked => ({ prompt: encode(text), params: { temperature: 1, maxTokens, seed: i } }),
);

const ahead = await loneEngine(model, { speculates: true });
const plain = await loneEngine(model, {});
const decodeMs = async (engine: LoneEngine, asked: Asked) => {
  const [answer] = await engine.ask([asked]);
  return { ms: answer!.end.timings.decodeMs, tokens: answer!.tokens };
};

async function measure(asked: readonly Asked[]) {
  const ratios: number[] = [];
  const speeds: { plain: number; ahead: number }[] = [];
  const before = ahead.speculation ?? { drafted: 0, accepted: 0 };
  for (let round = 0; round < Number(flags.rounds); round++) {
    const sums = { plain: 0, ahead: 0, tokens: 0 };
    for (const [i, each] of asked.entries()) {
      // Who is first takes turns.
      const order = (round + i) % 2 === 0 ? (['plain', 'ahead'] as const) : (['ahead', 'plain'] as const);
      const said: string[] = [];
      for (const name of order) {
        const { ms, tokens } = await decodeMs({ plain, ahead }[name], each);
        sums[name] += ms;
        sums.tokens += tokens.length / 2;
        said.push(String(tokens));
      }
      if (said[0] !== said[1]) throw new Error('what was computed ahead changed the text');
    }
    ratios.push(sums.plain / sums.ahead);
    speeds.push({ plain: (1000 * sums.tokens) / sums.plain, ahead: (1000 * sums.tokens) / sums.ahead });
  }
  const { drafted, accepted } = ahead.speculation!;
  return {
    speedup: spread(ratios),
    tokensPerSecond: speeds,
    ...{ drafted: drafted - before.drafted, accepted: accepted - before.accepted },
  };
}

await measure([copy[0]!, natural[0]!]);
const results = { copy: await measure(copy), natural: await measure(natural) };
for (const [name, { speedup, drafted, accepted }] of Object.entries(results)) {
  const { median, min, max } = speedup;
  const range = `${min.toFixed(2)} to ${max.toFixed(2)}`;
  console.log(`${name.padEnd(8)} ${median.toFixed(2)} times (${range}), ${accepted} of ${drafted} guesses were right`);
}
const machine = describeMachine();
const date = new Date().toISOString();
const file = new URL(`results/${date.slice(0, 10)}-speculation.json`, import.meta.url);
writeFileSync(file, `${JSON.stringify({ date, machine, threads: plain.threads, maxTokens, results }, null, 2)}\n`);
console.log(`${machine.cpu}, ${plain.threads} threads, commit ${machine.commit}`);
process.exit(0);
