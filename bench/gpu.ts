// The base resident on a device: decode steps of the base and of mixed batches, beside torch with PEFT's mixed batch on
// the same device; the share of the device's memory bandwidth that a step reaches; and the memory of resident adapters.
//
//     npm run bench:gpu -- --device cuda [--model random:1b] [--rows 1,16,64,128,256] [--adapters 0,1,16,all]
//         [--context 128] [--rank 16] [--rounds 20] [--resident 1000] [--bits 4|8|32] [--python <with torch and peft>]
//         [--kernels recorded|own|runtime] [--kv rows|blocks] [--precision float16|bfloat16]
//     npm run bench:gpu -- --device cpu --model random:tiny --rows 1,4 --adapters 0,2,all --resident 8    for a trial
//
// `--device cpu` runs the device's graphs on the processor, to try this program out. Its figures mean nothing.

import { mkdirSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { parseArgs } from 'node:util';
import { cudaDir, loadConfig } from '../src/config.ts';
import { systemClock } from '../src/core/clock.ts';
import { type DeviceKernels, parseDevice } from '../src/core/device.ts';
import { LorikeetError } from '../src/core/errors.ts';
import type { ResidentAdapter } from '../src/engine/adapters/resident-adapter.ts';
import { joinedSizes } from '../src/engine/adapters/resident-adapter.ts';
import { createDecoder } from '../src/engine/runner/decoder.ts';
import { blockForm, targetOf } from '../src/engine/runner/device-target.ts';
import type { LinearBits, LoweredModel } from '../src/graph/lowered.ts';
import { type GraphTarget, type Real, realBytes } from '../src/graph/target.ts';
import { createOnnxRuntime } from '../src/runtime/onnx-runtime.ts';
import type { Runtime } from '../src/runtime/session.ts';
import { copyBandwidth } from './gpu/bandwidth.ts';
import { allLinears, type Measured, measureDecode, measurePrompts, type Work } from './gpu/decode.ts';
import { benchModel } from './gpu/model.ts';
import { type PeftRun, runPeft } from './gpu/peft.ts';
import { measurePreparing } from './gpu/preparing.ts';
import { describeMachine } from './machine.ts';
import { randomAdapter } from './random-adapter.ts';

const { values: flags } = parseArgs({
  options: {
    device: { type: 'string' },
    model: { type: 'string' },
    bits: { type: 'string' },
    rows: { type: 'string', default: '1,16,64,128,256' },
    adapters: { type: 'string', default: '0,1,16,all' },
    context: { type: 'string', default: '128' },
    rank: { type: 'string', default: '16' },
    rounds: { type: 'string', default: '20' },
    resident: { type: 'string', default: '1000' },
    'copy-mib': { type: 'string', default: '512' },
    python: { type: 'string' },
    kernels: { type: 'string', default: 'recorded' },
    kv: { type: 'string', default: 'rows' },
    precision: { type: 'string' },
  },
});
const inBlocks = flags.kv === 'blocks';
const [context, rank, rounds, resident] = [flags.context, flags.rank, flags.rounds, flags.resident].map(Number) as [
  ...[number, number, number, number],
];
const { config } = loadConfig({
  ...(flags.device && { device: flags.device }),
  ...(flags.precision && { 'device-precision': flags.precision }),
});
const device = parseDevice(config.device);
const real: Real = config.devicePrecision ?? (device.kind === 'cuda' ? 'float16' : 'float32');
const rowCounts = flags.rows.split(',').map(Number);
const works: Work[] = rowCounts.flatMap((rows) => {
  const counts = flags.adapters.split(',').map((count) => (count === 'all' ? rows : Math.min(rows, Number(count))));
  return [...new Set(counts)].map((adapters) => ({ rows, adapters }));
});

const runtime = openRuntime();
const model = await benchModel(
  flags.model ?? null,
  flags.bits ? (Number(flags.bits) as LinearBits) : null,
  config,
  real,
);
const pages = Math.min(
  Math.max(resident, ...works.map(({ adapters }) => adapters)) * Math.ceil(rank / 8),
  pagesThatFit(),
);
const freeBefore = runtime.device?.freeBytes() ?? null;
const decoder = createDecoder(runtime, model, {
  ...{
    rows: Math.max(2, ...rowCounts),
    positions: context + 8,
    pages,
    target: benchTarget(),
  },
});
const adapters = new Map<number, ResidentAdapter>();
const adapter = (i: number) => {
  // Eight different adapters suffice: further ones repeat their values under other keys.
  const seed = i % 8;
  const numbers = adapters.get(seed) ?? randomAdapter(model.shape, { seed, r: rank, modules: allLinears });
  adapters.set(seed, numbers);
  return { ...numbers, key: `adapter ${i}` };
};
const measured: Measured[] = [];
for (const work of works) {
  const row = await measureDecode({ decoder, context, rounds, adapter }, work);
  measured.push(row);
  // Each result is printed at once, so that a run that is cut short has still reported it.
  const [base, mixed] = [row.baseMs, row.mixedMs].map(({ median }) => median.toFixed(2));
  const first = row.firstMs.map((ms) => ms.toFixed(0)).join(', ');
  console.error(`${work.rows} rows, ${work.adapters} adapters: base ${base} ms, mixed ${mixed} ms; first ${first}`);
}
const prompts = await measurePrompts({ decoder, context, rounds, adapter }, Math.max(...rowCounts));
const promptsTold = `${prompts.prompts} prompts of ${context} tokens, at once: ${prompts.ms.median.toFixed(1)} ms`;
console.error(promptsTold);
const filled = await fillResident();
const freeAfter = runtime.device?.freeBytes() ?? null;
const preparing = await measurePreparing(runtime, model.shape, adapter(0));
const bandwidth = await copyBandwidth(runtime, Number(flags['copy-mib']) * 2 ** 20);
const peft = await measurePeft();
report();
process.exit();

function openRuntime(): Runtime {
  const { ortLibrary: library, threads, dataDir } = config;
  try {
    return createOnnxRuntime({
      library,
      threads,
      spin: true,
      device,
      cudaDir: cudaDir(dataDir),
      deviceKernels: flags.kernels as DeviceKernels,
      inBlocks,
      ...(real === 'bfloat16' && { cardReal: real }),
      // Rounds that warm up and are not counted.
      runsBefore: 2,
    });
  } catch (error) {
    if (!(error instanceof LorikeetError)) throw error;
    console.error(`bench:gpu: ${error.message}`);
    process.exit(1);
  }
}

/** Graph target of the device. On the processor it is a device's form. */
function benchTarget(): GraphTarget {
  if (runtime.device !== null) return targetOf(runtime, model.shape, real);
  return { on: 'device', real, ...(inBlocks ? { blocks: blockForm('own', model.shape) } : {}) };
}

/** Pages that fit beside the weights, leaving a sixth of the free memory for everything else. */
function pagesThatFit(): number {
  const freeBytes = runtime.device?.freeBytes() ?? Number.POSITIVE_INFINITY;
  const pageBytes = joinedSizes(model.shape).reduce(
    (sum, { layers, in: inputs, modules, out }) => sum + 8 * layers * (modules.length * inputs + out),
    0,
  );
  return Math.floor(((freeBytes * 5) / 6 - weightBytes(model)) / (pageBytes * realBytes[real]));
}

/** Fills all pages with adapters. Gives the bytes sent and the seconds taken. */
async function fillResident(): Promise<{ adapters: number; bytes: number; seconds: number }> {
  decoder.pages.takeCopiedBytes();
  const start = systemClock.monotonic();
  // Eight different adapters suffice: further ones repeat their values under other keys.
  const placed = Array.from({ length: resident }, (_, i) => ({ ...adapter(i % 8), key: `resident ${i}` }));
  for (const each of placed) {
    const placement = decoder.pages.place(each);
    await placement?.copied;
    if (placement) decoder.pages.release(placement);
  }
  const seconds = (systemClock.monotonic() - start) / 1000;
  return { adapters: resident, bytes: decoder.pages.takeCopiedBytes(), seconds };
}

async function measurePeft(): Promise<PeftRun | string> {
  if (device.kind === 'webgpu') return 'torch has no WebGPU';
  const python = flags.python ?? config.python ?? 'python3';
  return runPeft(python, { shape: model.shape, device: device.kind, works, context, rounds, rank });
}

/** Bytes that a step must read: weights, keys and values, and the pages of its adapters. */
function bytesRead({ rows, adapters }: Work): number {
  const { layers, kvHeads, headDim } = model.shape;
  const size = realBytes[real];
  const kv = 2 * layers * rows * kvHeads * context * headDim * size;
  const pageBytes = decoder.pages.memory.bytes / (pages + 1);
  return weightBytes(model) + kv + adapters * Math.ceil(rank / 8) * pageBytes;
}

/** Bytes of the weights on the device, without the embedding, of which a step reads only a few rows. */
function weightBytes({ weights }: LoweredModel): number {
  const sizeOf = (data: Float32Array | Uint8Array) =>
    data instanceof Float32Array ? data.length * realBytes[real] : data.byteLength;
  return [...weights].reduce((sum, [name, { data }]) => sum + (name === 'embedding' ? 0 : sizeOf(data)), 0);
}

function report(): void {
  const machine = { ...describeMachine(), device: config.device, onnxRuntime: runtime.name, library: runtime.library };
  const date = new Date(systemClock.now()).toISOString();
  const name = flags.model ?? config.model;
  console.log(`\n${name} on ${config.device} (${real}), ${runtime.name}, ${machine.cpu}, commit ${machine.commit}`);
  console.log(typeof peft === 'string' ? `PEFT is left out: ${peft}` : peft.versions);
  console.log(`copies ${(bandwidth / 1e9).toFixed(1)} GB/s within the device\n`);
  const columns = ['rows', 'adapters', 'base step, ms', 'mixed step, ms', 'kept', 'of the bandwidth'];
  columns.push('logits fetched, ms');
  columns.push('PEFT, ms', 'PEFT / ours');
  console.log(`| ${columns.join(' | ')} |`);
  console.log(`| ${columns.map(() => '---').join(' | ')} |`);
  const results = measured.map((row, i) => {
    const peftMs = typeof peft === 'string' ? null : peft.rows[i]!.ms;
    const roofline = bytesRead(row) / (row.mixedMs.median / 1000) / bandwidth;
    // Both times include choosing the tokens.
    const ratio = peftMs === null ? null : peftMs / row.mixedMs.median;
    return { ...row, roofline, peftMs, ratio };
  });
  for (const { rows, adapters, baseMs, mixedMs, kept, roofline, fetchedMs, peftMs, ratio } of results) {
    const cells = [rows, adapters, baseMs.median.toFixed(2), mixedMs.median.toFixed(2), kept.median.toFixed(2)];
    cells.push(roofline.toFixed(3), fetchedMs.median.toFixed(2), peftMs?.toFixed(1) ?? '', ratio?.toFixed(1) ?? '');
    console.log(`| ${cells.join(' | ')} |`);
  }
  console.log(`\n${promptsTold}`);
  const perAdapter = (decoder.pages.memory.bytes / (pages + 1)) * Math.ceil(rank / 8);
  const memory = { perAdapterBytes: perAdapter, filled, freeBefore, freeAfter, hostGiB: os.totalmem() / 2 ** 30 };
  console.log(
    `\n${resident} resident adapters of rank ${rank}: ${((resident * perAdapter) / 2 ** 30).toFixed(2)} GiB, ` +
      `sent at ${(filled.bytes / filled.seconds / 1e9).toFixed(2)} GB/s` +
      (freeBefore === null || freeAfter === null ? '' : `; the device has ${freeBefore - freeAfter} bytes less`),
  );
  const { sentBytes, halvesMs, floatsMs } = preparing;
  console.log(
    `an adapter is ${(sentBytes / 2 ** 20).toFixed(1)} MiB for a card, which JavaScript prepares in ` +
      `${halvesMs.toFixed(2)} ms; as floats it would take ${floatsMs.toFixed(1)} ms`,
  );
  // A step cannot read its weights faster than the card copies. A step that seems to did not run.
  const impossible = results.filter(({ roofline }) => roofline > 1.05);
  if (impossible.length > 0 && device.kind !== 'cpu') {
    console.error(
      `bench:gpu: ${impossible.length} of ${results.length} steps are faster than the memory of the device`,
    );
    process.exitCode = 1;
  }
  if (device.kind === 'cpu') return;
  const folder = new URL('results/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  const told = [config.device.replace(':', '-'), name.replace(/\W+/g, '-'), ...(inBlocks ? ['blocks'] : [])];
  if (real === 'bfloat16') told.push(real);
  const file = new URL(`${date.slice(0, 10)}-gpu-${told.join('-')}.json`, folder);
  const { kernels, kv } = flags;
  const measurements = { bandwidth, results, prompts, memory, preparing, peft };
  const written = { date, machine, model: name, real, kernels, kv, context, rank, rounds, ...measurements };
  writeFileSync(file, `${JSON.stringify(written, null, 2)}\n`);
  console.log(`written to ${file.pathname}`);
}
