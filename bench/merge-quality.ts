// Measures what merging costs in quality, time and memory: merged against unmerged on held-out chats, at each width.
//
//     npm run bench:merge-quality -- [--model <name or gguf>] [--adapters order,pirate,shell,r16-all] [--threads 2]
//
// Both sides compute prompts, whose activations have 16 bits, so that only the weights differ. `greedy equal` counts
// continuations of 24 tokens that are the same to the end.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os, { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config.ts';
import { systemClock } from '../src/core/clock.ts';
import { readAdapter } from '../src/engine/adapters/read-adapter.ts';
import type { RowAdapter } from '../src/engine/adapters/row-adapter.ts';
import { createComparison } from '../src/engine/merges/compare.ts';
import { mergedBytes, mergeModel } from '../src/engine/merges/merge-model.ts';
import { createDecoder, type Decoder } from '../src/engine/runner/decoder.ts';
import { evenBatch } from '../src/engine/runner/forward-batch.ts';
import { loadWeights } from '../src/graph/weights.ts';
import { modelSources } from '../src/main/model.ts';
import { readGguf } from '../src/models/read-gguf.ts';
import { resolveModel } from '../src/models/resolve.ts';
import { createOnnxRuntime } from '../src/runtime/onnx-runtime.ts';
import { loadTokenizer } from '../src/tokenizer/load.ts';
import type { ChatMessage } from '../src/tokenizer/tokenizer.ts';
import { writtenAdapter } from '../test/parity/adapters.ts';
import { describeMachine } from './machine.ts';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    adapters: { type: 'string', default: 'order,pirate,shell,r16-all' },
    threads: { type: 'string', default: String(os.availableParallelism()) },
  },
});
const widths = [null, 8, 32] as const;
const examples = ['order', 'pirate', 'shell'];
const positions = 256;
const continued = 24;

const { config } = loadConfig(flags.model === undefined ? {} : { model: flags.model });
const files = await resolveModel(config.model, { ...modelSources(config), log: console.error });
const { model } = await loadWeights(files, null, join(config.dataDir, 'weights'), console.warn);
const tokenizer = await loadTokenizer(files, (path) => readGguf(path).metadata);
const runtime = createOnnxRuntime({ library: null, threads: Number(flags.threads), spin: false });
const base = createDecoder(runtime, model, { rows: 1, positions, pages: 16 });

type Text = { readonly tokens: readonly number[]; readonly promptLength: number };
type Row = { readonly adapter: string; readonly bits: string; readonly cells: readonly string[] };

const breath = longestBreath();
const folder = mkdtempSync(join(tmpdir(), 'lorikeet-merge-'));
const rows: Row[] = [];
printHead();
for (const name of flags.adapters.split(',')) {
  const adapter = await readAdapter(writtenAdapter(name, folder), { model, breath });
  const placement = base.pages.place(adapter)!;
  await placement.copied;
  const row: RowAdapter = { adapter, placement, scale: 1 };
  const texts = (examples.includes(name) ? [name] : examples).flatMap(heldOut);
  const greedy = [];
  for (const text of texts) greedy.push(await continuation(row, text));
  for (const bits of widths) {
    const found = await measure(name, row, bits, texts, greedy);
    rows.push(found);
    printRow([found.adapter, found.bits, ...found.cells]);
  }
  base.pages.release(placement);
}
rmSync(folder, { recursive: true });
writeResults();
process.exit(0);

/** Chats of a trained example adapter that were not in its training. */
function heldOut(name: string): Text[] {
  const lines = readFileSync(new URL(`../adapters/${name}/held-out.jsonl`, import.meta.url), 'utf8')
    .trim()
    .split('\n');
  return lines.map((line) => {
    const { messages } = JSON.parse(line) as { messages: ChatMessage[] };
    const tokens = tokenizer.encodeChat(messages, { addGenerationPrompt: false }).slice(0, positions - continued);
    return { tokens, promptLength: tokenizer.encodeChat(messages.slice(0, -1)).length };
  });
}

/** Gives logits [wanted, vocabulary] at the last `wanted` of the tokens, which follow `past` others. */
function logits(decoder: Decoder, row: RowAdapter | null, past: number, tokens: readonly number[], wanted: number) {
  const sampled = [...tokens.keys()].slice(-wanted);
  return decoder.forward(evenBatch({ kind: 'prompt', first: 0, pasts: [past], tokens, sampled, adapters: [row] }));
}

async function continuation(row: RowAdapter, { tokens, promptLength }: Text): Promise<number[]> {
  const greedy = [argmax(await logits(base, row, 0, tokens.slice(0, promptLength), 1))];
  while (greedy.length < continued) {
    greedy.push(argmax(await logits(base, row, promptLength + greedy.length - 1, greedy.slice(-1), 1)));
  }
  return greedy;
}

async function measure(
  name: string,
  row: RowAdapter,
  bits: (typeof widths)[number],
  texts: readonly Text[],
  greedy: readonly (readonly number[])[],
): Promise<Row> {
  breath.restart();
  const [start, cpu] = [systemClock.monotonic(), process.cpuUsage()];
  const merged = await mergeModel(runtime, model, row.adapter, { scale: 1, bits, breath });
  const ms = systemClock.monotonic() - start;
  const { user, system } = process.cpuUsage(cpu);
  const decoder = createDecoder(runtime, merged, { rows: 1, positions });
  const comparison = createComparison(decoder.vocabulary);
  let equal = 0;
  for (const [i, { tokens, promptLength }] of texts.entries()) {
    const unmerged = (await logits(base, row, 0, tokens, tokens.length)).slice();
    comparison.add(unmerged, await logits(decoder, null, 0, tokens, tokens.length));
    // Up to the first difference the merged model would have written the same text, so one prefill finds the
    // difference.
    const text = [...tokens.slice(0, promptLength), ...greedy[i]!.slice(0, -1)];
    const next = await logits(decoder, null, 0, text, continued);
    const { vocabulary } = decoder;
    if (greedy[i]!.every((token, at) => argmax(next.subarray(at * vocabulary, (at + 1) * vocabulary)) === token))
      equal++;
  }
  await decoder.release();
  const { positions: compared, meanKl, maxKl, top1Agreement } = comparison.quality();
  const cells = [
    compared,
    meanKl.toFixed(5),
    maxKl.toFixed(3),
    `${(100 * top1Agreement).toFixed(1)} %`,
    `${equal} of ${texts.length}`,
    (mergedBytes(model, row.adapter, bits) / 2 ** 20).toFixed(1),
    ms.toFixed(0),
    ((user + system) / 1000).toFixed(0),
    breath.longest().toFixed(1),
  ];
  return { adapter: name, bits: bits === null ? 'own' : String(bits), cells: cells.map(String) };
}

function argmax(values: Float32Array): number {
  return values.reduce((best, value, i) => (value > values[best]! ? i : best), 0);
}

/** Yields to the event loop after each millisecond of work, and measures the longest stretch without a yield. */
function longestBreath() {
  let [since, longest] = [systemClock.monotonic(), 0];
  return {
    async take() {
      const stretch = systemClock.monotonic() - since;
      if (stretch < 1) return;
      longest = Math.max(longest, stretch);
      await new Promise((resolve) => setImmediate(resolve));
      since = systemClock.monotonic();
    },
    longest: () => longest,
    restart() {
      longest = 0;
      since = systemClock.monotonic();
    },
  };
}

function printHead(): void {
  const { cpu, commit } = describeMachine();
  const head = ['adapter', 'bits', 'positions', 'mean KL, nats', 'largest', 'top-1', 'greedy equal', 'MiB'];
  console.log(`\n${cpu}, ${flags.threads} threads, commit ${commit}\n`);
  for (const cells of [[...head, 'ms', 'CPU ms', 'longest stretch, ms'], Array(11).fill('---')]) printRow(cells);
}

function printRow(cells: readonly string[]): void {
  console.log(`| ${cells.join(' | ')} |`);
}

function writeResults(): void {
  const date = new Date(systemClock.now()).toISOString();
  const folder = new URL('results/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  const file = new URL(`${date.slice(0, 10)}-merge-quality.json`, folder);
  writeFileSync(file, `${JSON.stringify({ date, machine: describeMachine(), rows }, null, 2)}\n`);
  console.log(`\nwritten to ${file.pathname}`);
}
