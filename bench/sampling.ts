// Measures what choosing tokens costs a decode step: the same rows greedily, drawn, and under a grammar, in turns.
//
//     node bench/sampling.ts --model model.gguf [--batch 16] [--tokens 48] [--rounds 3] [--json]

import { readFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config.ts';
import { systemClock } from '../src/core/clock.ts';
import { defaultSamplingParams, type SamplingParams } from '../src/core/sampling-params.ts';
import { chooseEach } from '../src/engine/loop/choose.ts';
import { createSequence } from '../src/engine/loop/sequence.ts';
import { rowsOf } from '../src/engine/runner/block-compute.ts';
import { createDecoder } from '../src/engine/runner/decoder.ts';
import { evenBatch } from '../src/engine/runner/forward-batch.ts';
import { GrammarThread } from '../src/grammar/grammar-thread.ts';
import { loadWeights } from '../src/graph/weights.ts';
import { readGguf } from '../src/models/read-gguf.ts';
import { resolveModel } from '../src/models/resolve.ts';
import { createOnnxRuntime } from '../src/runtime/onnx-runtime.ts';
import { loadTokenizer } from '../src/tokenizer/load.ts';
import { tokenTable } from '../src/tokenizer/token-table.ts';
import { spread } from './statistics.ts';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    batch: { type: 'string', default: '16' },
    context: { type: 'string', default: '64' },
    tokens: { type: 'string', default: '48' },
    rounds: { type: 'string', default: '3' },
    threads: { type: 'string', default: String(os.availableParallelism()) },
    json: { type: 'boolean', default: false },
  },
});
if (flags.model === undefined) throw new Error('--model <file or folder> is needed');
const [batch, context, count] = [Number(flags.batch), Number(flags.context), Number(flags.tokens)];

const cacheDir = join(loadConfig().config.dataDir, 'weights');
const files = await resolveModel(flags.model, {
  cacheDir,
  hub: { endpoint: '', token: null, cacheDir, offline: true },
});
const tokenizer = await loadTokenizer(files, (path) => readGguf(path).metadata);
const { model } = await loadWeights(files, null, cacheDir, console.warn);
const runtime = createOnnxRuntime({ library: null, threads: Number(flags.threads), spin: true });
const decoder = createDecoder(runtime, model, { rows: Math.max(batch, 2), positions: context + count + 8 });
const grammars = new GrammarThread({ table: tokenTable(tokenizer) });

/** A schema that is never complete within the tokens of a round: its list is too long. */
const schema = {
  type: 'array',
  minItems: 100,
  items: {
    type: 'object',
    properties: { name: { type: 'string' }, price: { type: 'number' }, size: { enum: ['small', 'large'] } },
    required: ['name', 'price', 'size'],
    additionalProperties: false,
  },
};

type Work = { readonly params: Partial<SamplingParams>; readonly schema?: object };

const works: Readonly<Record<string, Work>> = {
  greedy: { params: { temperature: 0 } },
  'top_p 0.9': { params: { temperature: 1, topP: 0.9 } },
  'top_k 40': { params: { temperature: 1, topK: 40 } },
  'no filter': { params: { temperature: 1 } },
  'greedy, JSON schema': { params: { temperature: 0 }, schema },
  'top_p 0.9, JSON schema': { params: { temperature: 1, topP: 0.9 }, schema },
};

// The context is ordinary text: after random tokens the model's distributions would be unusually flat.
const book = tokenizer.encode(readFileSync(new URL('../README.md', import.meta.url), 'utf8'), {
  ...{ addSpecialTokens: false, parseSpecial: false },
});
for (let row = 0; row < batch; row++) {
  const tokens = book.slice(row * 50, row * 50 + context);
  await decoder.forward(evenBatch({ kind: 'prompt', first: row, pasts: [0], tokens, sampled: [context - 1] }));
}

type Step = { readonly runMs: number; readonly chooseMs: number };

/** Milliseconds of a step's run, and of the time after it until all tokens are chosen. */
async function measure({ params, schema }: Work): Promise<Step> {
  const sampled = Array.from({ length: batch }, (_, i) => i);
  const sequences = sampled.map((row) => {
    const request = {
      ...{ id: row, promptTokens: [book[row * 50 + context]!], adapters: [] },
      params: { ...defaultSamplingParams, seed: row, stopTokens: [...tokenizer.eosTokens], ...params },
    };
    const constraint = schema ? grammars.open({ kind: 'json_schema', text: JSON.stringify(schema) }) : null;
    return createSequence(request, 0, () => row, constraint);
  });
  for (const { constraint } of sequences) await constraint?.ready;
  let tokens = sequences.map(({ tokens }) => tokens[0]!);
  let [runMs, chooseMs] = [0, 0];
  for (let i = 0; i < count; i++) {
    const start = systemClock.monotonic();
    const pasts = sampled.map(() => context + i);
    const logits = await decoder.forward(evenBatch({ kind: 'answer', first: 0, pasts, tokens, sampled }));
    const run = systemClock.monotonic();
    tokens = (await chooseEach(sequences, rowsOf(logits, decoder.vocabulary), sampled)).map(({ token }) =>
      Number(token),
    );
    runMs += (run - start) / count;
    chooseMs += (systemClock.monotonic() - run) / count;
  }
  for (const { constraint } of sequences) constraint?.release();
  return { runMs, chooseMs };
}

const times = new Map(Object.keys(works).map((name) => [name, [] as Step[]]));
for (const work of Object.values(works)) await measure(work);
for (let round = 0; round < Number(flags.rounds); round++) {
  for (const [name, work] of Object.entries(works)) times.get(name)!.push(await measure(work));
}
const greedy = times.get('greedy')!;
const results = [...times].map(([name, steps]) => {
  const stepMs = spread(steps.map(({ runMs, chooseMs }) => runMs + chooseMs)).median;
  const chooseMs = spread(steps.map(({ chooseMs }) => chooseMs)).median;
  // Each step is compared with the greedy step of its round.
  const ratio = spread(
    steps.map(({ runMs, chooseMs }, round) => (runMs + chooseMs) / (greedy[round]!.runMs + greedy[round]!.chooseMs)),
  ).median;
  return { work: name, stepMs, chooseMs, ratio };
});
if (flags.json) console.log(JSON.stringify({ batch, results }));
else {
  console.log('work'.padEnd(24), 'step ms', 'choose ms', 'step / greedy');
  for (const { work, stepMs, chooseMs, ratio } of results)
    console.log(work.padEnd(24), stepMs.toFixed(2), chooseMs.toFixed(2), ratio.toFixed(3));
}
grammars.close();
await decoder.release();
process.exit(0);
