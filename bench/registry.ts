// Measures the registry: looking up a request's adapter, the effect of a large upload on others, and a start.
//
//     node scripts/run.js bench/registry.ts [--versions 1000] [--megabytes 200]

import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Readable } from 'node:stream';
import { parseArgs } from 'node:util';
import { linearSize } from '../src/core/adapter.ts';
import type { ModelShape } from '../src/core/base-model.ts';
import { systemClock, systemTimers } from '../src/core/clock.ts';
import { limits } from '../src/core/limits.ts';
import { prng } from '../src/core/prng.ts';
import { writeSafetensors } from '../src/formats/write-safetensors.ts';
import type { AdapterRegistry } from '../src/registry/adapter-registry.ts';
import { checkAdapter } from '../src/registry/check-adapter.ts';
import { openAdapterRegistry } from '../src/registry/registry.ts';
import { openDatabase } from '../src/storage/database.ts';
import { nodeFiles } from '../src/storage/files.ts';

const { values: flags } = parseArgs({
  options: { versions: { type: 'string', default: '1000' }, megabytes: { type: 'string', default: '200' } },
});
const [versions, megabytes] = [Number(flags.versions), Number(flags.megabytes)];

/** SmolLM2-135M's shape, with more layers. */
const modelShape: ModelShape = {
  ...{
    layers: 512,
    architecture: 'llama',
    hidden: 576,
    intermediate: 1536,
    heads: 9,
    kvHeads: 3,
    headDim: 64,
    vocabulary: 49_152,
  },
  ...{ context: 8192, ropeTheta: 100_000, ropeScaling: null, rmsNormEps: 1e-5, tiedEmbedding: true },
};

const root = mkdtempSync(join(tmpdir(), 'lorikeet-bench-'));
const database = await openDatabase(join(root, 'lorikeet.db'));
const open = () =>
  openAdapterRegistry({
    ...{ database, folder: join(root, 'adapters'), check: checkAdapter, random: prng(1), newId: randomUUID, limits },
    base: { name: 'bench', digest: `sha256:${'a'.repeat(64)}`, shape: () => modelShape },
    clock: systemClock,
    timers: systemTimers,
    log: { info: () => {}, warn: console.warn, error: console.error },
    files: nodeFiles,
  });

let registry = await open();
try {
  await large();
  await many();
  await leases();
  await start();
} finally {
  await registry.close();
  await database.destroy();
  rmSync(root, { recursive: true });
}

/** Makes an adapter on q_proj of `layers` layers at rank `r`. */
function adapter(layers: number, r: number, fill: number): { config: Uint8Array; weights: Uint8Array } {
  const size = linearSize(modelShape, 'q_proj');
  const tensor = (layer: number, part: string, shape: readonly [number, number]) => ({
    name: `base_model.model.model.layers.${layer}.self_attn.q_proj.lora_${part}.weight`,
    type: 'F32' as const,
    shape,
    bytes: new Uint8Array(new Float32Array(shape[0] * shape[1]).fill(fill).buffer),
  });
  const config = { peft_type: 'LORA', r, lora_alpha: r, target_modules: ['q_proj'], bias: 'none' };
  return {
    config: new TextEncoder().encode(JSON.stringify(config)),
    weights: writeSafetensors(
      Array.from({ length: layers }).flatMap((_, layer) => [
        tensor(layer, 'A', [r, size.in]),
        tensor(layer, 'B', [size.out, r]),
      ]),
    ),
  };
}

function* chunks(bytes: Uint8Array): Generator<Uint8Array> {
  for (let offset = 0; offset < bytes.length; offset += 65_536) yield bytes.subarray(offset, offset + 65_536);
}

async function upload(to: AdapterRegistry, name: string, { config, weights }: ReturnType<typeof adapter>) {
  const staged = await to.stage('default');
  const began = systemClock.monotonic();
  await staged.config(config);
  await staged.weights(Readable.from(chunks(weights)));
  const received = systemClock.monotonic();
  await staged.publish(name, { tenant: 'default', createdBy: null, source: 'upload' });
  return { receiveMs: received - began, publishMs: systemClock.monotonic() - received };
}

/** Measures how long the event loop, which delivers everybody's tokens, was held up during `work`. */
async function held<T>(work: () => Promise<T>): Promise<{ result: T; heldMs: string }> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const result = await work();
  delay.disable();
  const [high, most] = [delay.percentile(99) / 1e6, delay.max / 1e6];
  return { result, heldMs: `event loop held p99 ${high.toFixed(1)} ms, max ${most.toFixed(1)} ms` };
}

async function large(): Promise<void> {
  const r = Math.max(1, Math.round((megabytes * 1e6) / (modelShape.layers * 4 * 2 * modelShape.hidden)));
  const content = adapter(modelShape.layers, r, 0.01);
  const { result, heldMs } = await held(() => upload(registry, 'large', content));
  const bytes = content.weights.length / 1e6;
  const rate = bytes / (result.receiveMs / 1000);
  console.log(`upload of ${bytes.toFixed(0)} MB: received at ${rate.toFixed(0)} MB/s, flushed and hashed; ${heldMs}`);
  console.log(`  checked and published in ${result.publishMs.toFixed(0)} ms`);
  await registry.close();
  registry = await open();
  const first = await held(() => timed(async () => (await registry.lease('default', 'large')).release()));
  console.log(`  first lease after a start, which reads it whole: ${first.result.toFixed(0)} ms; ${first.heldMs}`);
}

async function many(): Promise<void> {
  const ms = await timed(async () => {
    for (let index = 0; index < versions; index++) await upload(registry, `many${index}`, adapter(2, 2, index + 1));
  });
  console.log(`${versions} small uploads, one after another: ${(ms / versions).toFixed(1)} ms each`);
}

async function leases(): Promise<void> {
  const times: number[] = [];
  for (let call = 0; call < 50_000; call++) {
    const name = `many${call % versions}`;
    times.push(await timed(async () => (await registry.lease('default', name)).release()));
  }
  times.sort((a, b) => a - b);
  const us = (share: number) => (times[Math.floor(times.length * share)]! * 1000).toFixed(1);
  console.log(`lease and release among ${versions} adapters: median ${us(0.5)} us, p99 ${us(0.99)} us`);
}

async function start(): Promise<void> {
  await registry.close();
  const ms = await timed(async () => {
    registry = await open();
  });
  console.log(`start with ${versions} versions, existence and size of all: ${ms.toFixed(0)} ms`);
}

async function timed(work: () => Promise<void>): Promise<number> {
  const began = systemClock.monotonic();
  await work();
  return systemClock.monotonic() - began;
}
