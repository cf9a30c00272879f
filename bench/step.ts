// Measures the step alone, without HTTP and without a scheduler: decode of a full batch, or prefill of one prompt.
//
//     node bench/step.ts --model model.gguf --mode decode --batch 8 --context 128 --tokens 64 [--threads 2] [--json]
//     node bench/step.ts --model model.gguf --mode prefill --prompt 512
//     ... --activations int16     decode with activations of 16 bits
//     ... --slots 256 --positions 8192     in a KV pool for so many sequences of so many tokens

import os from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { loadConfig } from '../src/config.ts';
import type { Activations } from '../src/core/base-model.ts';
import { systemClock } from '../src/core/clock.ts';
import { kvTokenBytes } from '../src/core/memory-plan.ts';
import { prng } from '../src/core/prng.ts';
import { createDecoder, type Decoder } from '../src/engine/runner/decoder.ts';
import { evenBatch } from '../src/engine/runner/forward-batch.ts';
import type { LinearBits } from '../src/graph/lowered.ts';
import { realBytes } from '../src/graph/target.ts';
import { loadWeights } from '../src/graph/weights.ts';
import { resolveModel } from '../src/models/resolve.ts';
import { createOnnxRuntime } from '../src/runtime/onnx-runtime.ts';
import { readBandwidth } from './read-bandwidth.ts';
import { spread } from './statistics.ts';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    mode: { type: 'string', default: 'decode' },
    batch: { type: 'string', default: '1' },
    context: { type: 'string', default: '128' },
    tokens: { type: 'string', default: '64' },
    prompt: { type: 'string', default: '512' },
    rounds: { type: 'string', default: '3' },
    bits: { type: 'string' },
    threads: { type: 'string', default: String(os.availableParallelism()) },
    activations: { type: 'string', default: 'int8' },
    slots: { type: 'string' },
    positions: { type: 'string' },
    profile: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
if (flags.model === undefined) throw new Error('--model <file or folder> is needed');

const cacheDir = join(loadConfig().config.dataDir, 'weights');
const hub = { endpoint: '', token: null, cacheDir, offline: true };
const files = await resolveModel(flags.model, { cacheDir, hub });
const bits = flags.bits === undefined ? null : (Number(flags.bits) as LinearBits);
const weights = await loadWeights(files, bits, cacheDir, console.warn);

const runtime = createOnnxRuntime({ library: null, threads: Number(flags.threads), spin: true });
const rounds = Number(flags.rounds);
const kvType = 'float16';
const opened: Decoder[] = [];
const tokensPerSecond = flags.mode === 'prefill' ? await prefill(Number(flags.prompt)) : await decode();
const peakRssBytes = process.resourceUsage().maxRSS * 1024;
const result = { tokensPerSecond, peakRssBytes, ...(flags.mode === 'decode' ? await roofline() : {}) };
console.log(flags.json ? JSON.stringify(result) : result);
// A profile is written when its session is released.
for (const decoder of opened) await decoder.release();
process.exit(0);

/** Computes the share of a step's time in which memory could deliver all that the step reads. */
async function roofline() {
  const bandwidth = await readBandwidth(runtime);
  const { shape, linears } = weights.model;
  const sizeOf = (name: string) => weights.model.weights.get(`${name}.packed`)!.data.byteLength;
  const ofWeights = [...linears.keys()].reduce((sum, name) => sum + sizeOf(name), 0);
  const rows = Number(flags.batch);
  const length = Number(flags.context) + Number(flags.tokens) / 2;
  const ofKv = rows * length * kvTokenBytes(shape, realBytes[kvType]);
  const stepSeconds = rows / tokensPerSecond;
  return {
    gigabytesPerSecond: bandwidth / 1e9,
    readMebibytesPerStep: (ofWeights + ofKv) / 2 ** 20,
    shareOfBandwidth: (ofWeights + ofKv) / bandwidth / stepSeconds,
  };
}

async function decode(): Promise<number> {
  const [batch, context, count] = [Number(flags.batch), Number(flags.context), Number(flags.tokens)];
  const decoder = decoderOf(Math.max(batch, 2), context + count + 8);
  const random = prng(1);
  const token = () => Math.floor(random() * decoder.vocabulary);
  for (let row = 0; row < batch; row++) {
    const tokens = Array.from({ length: context }, token);
    await decoder.forward(evenBatch({ kind: 'prompt', first: row, pasts: [0], tokens, sampled: [context - 1] }));
  }
  const sampled = Array.from({ length: batch }, (_, i) => i);
  const step = (past: number) =>
    decoder.forward(
      evenBatch({ kind: 'answer', first: 0, pasts: sampled.map(() => past), tokens: sampled.map(token), sampled }),
    );
  for (let i = 0; i < 4; i++) await step(context + i);
  return median(async () => {
    for (let i = 0; i < count; i++) await step(context + i);
    return batch * count;
  });
}

async function prefill(length: number): Promise<number> {
  const decoder = decoderOf(1, length);
  const random = prng(1);
  const tokens = Array.from({ length }, () => Math.floor(random() * decoder.vocabulary));
  const run = () => decoder.forward(evenBatch({ kind: 'prompt', first: 0, pasts: [0], tokens, sampled: [length - 1] }));
  await run();
  return median(async () => {
    await run();
    return length;
  });
}

function decoderOf(rows: number, positions: number) {
  const profile = flags.profile === undefined ? {} : { profile: flags.profile };
  const decoder = createDecoder(runtime, weights.model, {
    rows: Math.max(rows, Number(flags.slots ?? 0)),
    positions: Math.max(positions, Number(flags.positions ?? 0)),
    kvBytes: 2 ** 32,
    kvType,
    decodeActivations: flags.activations as Activations,
    ...profile,
  });
  opened.push(decoder);
  return decoder;
}

/** Median tokens a second; `work` returns the tokens that it computed. */
async function median(work: () => Promise<number>): Promise<number> {
  const speeds: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const start = systemClock.monotonic();
    const tokens = await work();
    speeds.push((tokens * 1000) / (systemClock.monotonic() - start));
  }
  return spread(speeds).median;
}
