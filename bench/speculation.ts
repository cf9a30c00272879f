// Measures speculative decoding against none, for one sequence: the same texts, in turns, on engines of one process.
// One engine drafts from a sequence's own tokens alone, another one from earlier answers too. `copy`: a passage of the
// prompt is repeated. `natural`: sampled text, which seldom repeats itself. `templated`: the example adapter `order`
// turns different orders into JSON. `again`: the same orders once more. `extracted`, with --rows: the base turns texts
// into JSON as one example shows; the file is JSONL of `completion`.
//
//     npm run bench:speculation -- [--rounds 3] [--tokens 96] [--model model.gguf] [--rows texts.jsonl]

import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { readGguf } from '../src/models/read-gguf.ts';
import { loadTokenizer } from '../src/tokenizer/load.ts';
import { adapterIn } from './adapter-files.ts';
import { type Asked, findModel, loneEngine } from './engine/lone-engine.ts';
import { describeMachine } from './machine.ts';
import { spread } from './statistics.ts';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    tokens: { type: 'string', default: '96' },
    rows: { type: 'string' },
  },
});
const [rounds, maxTokens] = [Number(flags.rounds), Number(flags.tokens)];

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
const encode = (text: string) => tokenizer.encode(text, { addSpecialTokens: true, parseSpecial: true });
const chat = (text: string) => encode(`<|im_start|>user\n${text}<|im_end|>\n<|im_start|>assistant\n`);
const greedy = { temperature: 0, maxTokens };
const ended = (end: string) => ({ ...greedy, stopTokens: [encode(end).at(-1)!] });

const copy = passages.map((text): Asked => {
  return { prompt: encode(`${text}\n\n---\n\n${text}\n\n---\n\n${text.slice(0, 60)}`), params: greedy };
});
const natural = (round: number) =>
  subjects.map((text, i): Asked => {
    return { prompt: encode(text), params: { temperature: 1, maxTokens, seed: (round + 1) * subjects.length + i } };
  });

const folder = new URL('../adapters/order/', import.meta.url);
const order = adapterIn(fileURLToPath(folder));
type OrderRow = { readonly messages: readonly { readonly content: string }[] };
const orders = rowsOf<OrderRow>(new URL('train.jsonl', folder)).map(({ messages }): Asked => {
  return { prompt: chat(messages[0]!.content), params: ended('<|im_end|>'), adapters: [{ files: order, scale: 1 }] };
});

const example = [
  'Text: Cocum is a cheap pub near The Sorrento. It serves Thai food.',
  'JSON: {"name": "Cocum", "type": "pub", "food": "Thai", "price": "cheap", "near": "The Sorrento", "children": null}',
].join('\n');
const texts = rowsOf<{ readonly completion: string }>(flags.rows).map(({ completion }): Asked => {
  return { prompt: encode(`${example}\n\nText: ${completion}\nJSON:`), params: ended('\n') };
});

const options = { adapterBytes: 2 ** 28 };
const engines = {
  plain: await loneEngine(model, options),
  own: await loneEngine(model, { ...options, speculates: true }),
  past: await loneEngine(model, { ...options, speculates: true, pastTextBytes: 2 ** 25 }),
};
const names = ['plain', 'own', 'past'] as const;

async function measure(askedIn: (round: number) => readonly Asked[]) {
  const ratios = { own: [] as number[], past: [] as number[] };
  const counted = () => ({ own: engines.own.speculation, past: engines.past.speculation });
  const before = counted();
  for (let round = 0; round < rounds; round++) {
    const ms = { plain: 0, own: 0, past: 0 };
    for (const [i, each] of askedIn(round).entries()) {
      const said = new Set<string>();
      // The order alternates.
      for (let turn = 0; turn < names.length; turn++) {
        const name = names[(round + i + turn) % names.length]!;
        const [answer] = await engines[name].ask([each]);
        if (answer!.end.error) throw new Error(answer!.end.error.message);
        ms[name] += answer!.end.timings.decodeMs;
        said.add(String(answer!.tokens));
      }
      if (said.size > 1) throw new Error('what was computed ahead changed the text');
    }
    for (const name of ['own', 'past'] as const) ratios[name].push(ms.plain / ms[name]);
  }
  const after = counted();
  return (['own', 'past'] as const).map((name) => ({
    guessedFrom: name,
    speedup: spread(ratios[name]),
    drafted: after[name]!.drafted - (before[name]?.drafted ?? 0),
    accepted: after[name]!.accepted - (before[name]?.accepted ?? 0),
  }));
}

/** Takes as many other requests in each round, after the first ones. */
const others = (all: readonly Asked[]) => (round: number) => all.slice(few * (round + 1), few * (round + 2));
const few = 6;

for (const engine of Object.values(engines)) {
  for (const asked of [copy[0]!, ...natural(-1), ...orders.slice(0, few), ...texts.slice(0, few)])
    await engine.ask([asked]);
}
const results: Record<string, Awaited<ReturnType<typeof measure>>> = {
  copy: await measure(() => copy),
  natural: await measure(natural),
  templated: await measure(others(orders)),
  again: await measure(() => orders.slice(0, few)),
  ...(texts.length > 0 ? { extracted: await measure(others(texts)) } : {}),
};
for (const [name, ways] of Object.entries(results)) {
  for (const { guessedFrom, speedup, drafted, accepted } of ways) {
    const range = `${speedup.median.toFixed(2)} times (${speedup.min.toFixed(2)} to ${speedup.max.toFixed(2)})`;
    console.log(`${name.padEnd(10)} ${guessedFrom.padEnd(5)} ${range}, ${accepted} of ${drafted} guesses were right`);
  }
}
const machine = describeMachine();
const date = new Date().toISOString();
const file = new URL(`results/${date.slice(0, 10)}-speculation.json`, import.meta.url);
const { threads } = engines.plain;
writeFileSync(file, `${JSON.stringify({ date, machine, threads, maxTokens, results }, null, 2)}\n`);
console.log(`${machine.cpu}, ${threads} threads, commit ${machine.commit}`);
process.exit(0);

function rowsOf<R>(file: string | URL | undefined): R[] {
  if (file === undefined) return [];
  return readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as R);
}
