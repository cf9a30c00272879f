// Reads files as PEFT writes them into matrices in memory, and compares these with the definition over the whole
// weights.

import assert from 'node:assert/strict';
import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import test from 'node:test';
import { type AdapterFiles, linearSize, type TargetModule } from '../../../src/core/adapter.ts';
import { systemClock } from '../../../src/core/clock.ts';
import { pageRanks } from '../../../src/core/page-sizes.ts';
import { type Breath, createBreath } from '../../../src/engine/adapters/breath.ts';
import { readAdapter } from '../../../src/engine/adapters/read-adapter.ts';
import { joinedSizes, layerOf, type ResidentAdapter } from '../../../src/engine/adapters/resident-adapter.ts';
import type { LinearBits, LoweredModel } from '../../../src/graph/lowered.ts';
import { linearValues } from '../../graph/linear-values.ts';
import { tinyLowered } from '../../helpers/tiny-lowered.ts';
import {
  type AdapterPlan,
  everyModule,
  layerModules,
  mergePair,
  type RandomPair,
  randomAdapter,
} from './random-adapters.ts';

const noBreath: Breath = { take: async () => {} };
const model = await tinyLowered('llama', 32);
const { shape } = model;

/** B A of a layer's module [out, in], from the adapter's matrices in memory. */
function added(resident: ResidentAdapter, layer: number | null, module: TargetModule): Float32Array {
  const sizes = joinedSizes(shape).find(({ modules }) => modules.includes(module))!;
  const linear = resident.linears.get(sizes.linear);
  const { in: inputs, out } = linearSize(shape, module);
  const sum = new Float32Array(out * inputs);
  if (!linear) return sum;
  const { ranks, a, b } = layerOf(linear, sizes.modules.indexOf(module), layer ?? 0, sizes);
  for (let rank = 0; rank < ranks; rank++) {
    for (let o = 0; o < out; o++) {
      for (let i = 0; i < inputs; i++) sum[o * inputs + i]! += b[rank * out + o]! * a[rank * inputs + i]!;
    }
  }
  return sum;
}

function gainsOf(resident: ResidentAdapter, layer: number | null, module: TargetModule): Float32Array {
  const sizes = joinedSizes(shape).find(({ modules }) => modules.includes(module))!;
  const part = sizes.modules.indexOf(module);
  const first = (layer ?? 0) * sizes.out + sizes.outs.slice(0, part).reduce((sum, out) => sum + out, 0);
  const gains = resident.linears.get(sizes.linear)?.gains;
  return gains?.subarray(first, first + sizes.outs[part]!) ?? new Float32Array(sizes.outs[part]!).fill(1);
}

/** The base's weights of a module, [out, in]. */
function baseWeights(of: LoweredModel, layer: number | null, module: TargetModule): Float32Array {
  const sizes = joinedSizes(shape).find(({ modules }) => modules.includes(module))!;
  const whole = linearValues(of, layer === null ? 'head' : `layers.${layer}.${sizes.linear}`);
  const first = sizes.outs.slice(0, sizes.modules.indexOf(module)).reduce((sum, out) => sum + out, 0);
  const { in: inputs, out } = linearSize(shape, module);
  return whole.subarray(first * inputs, (first + out) * inputs);
}

function assertNear(found: ArrayLike<number>, expected: ArrayLike<number>, what: string, most: number): void {
  assert.equal(found.length, expected.length, what);
  for (let i = 0; i < found.length; i++) {
    assert.ok(Math.abs(found[i]! - expected[i]!) < most, `${what}[${i}]: ${found[i]} is not ${expected[i]}`);
  }
}

const places = [
  ...layerModules.flatMap((module) => Array.from({ length: shape.layers }, (_, layer) => ({ layer, module }))),
  { layer: null, module: 'lm_head' },
] as const;

/** Asserts that gain * W + B A is the merged weight, in every linear of every layer. */
async function check(of: LoweredModel, plan: AdapterPlan): Promise<ResidentAdapter> {
  const { files, pairs } = randomAdapter(shape, plan);
  const resident = await readAdapter(files, { model: of, breath: noBreath });
  assert.equal(resident.key, files.digest);
  for (const { layer, module } of places) {
    const pair: RandomPair | undefined = pairs.find((pair) => pair.layer === layer && pair.module === module);
    const base = baseWeights(of, layer, module);
    const expected = base.slice();
    if (pair) mergePair(expected, pair, 1);
    const gains = gainsOf(resident, layer, module);
    const { in: inputs } = linearSize(shape, module);
    const sum = added(resident, layer, module).map((value, i) => value + gains[Math.floor(i / inputs)]! * base[i]!);
    // Gains are rounded together with B.
    assertNear(sum, expected, `layer ${layer} ${module}`, plan.dora || plan.rankPattern ? 2e-3 : 1e-4);
  }
  for (const { linear, layers, in: inputs, outs, modules } of joinedSizes(shape)) {
    const touching = pairs.filter(({ module }) =>
      joinedSizes(shape)
        .find((s) => s.linear === linear)!
        .modules.includes(module),
    );
    const found = resident.linears.get(linear);
    assert.equal(found !== undefined, touching.length > 0);
    if (!found) continue;
    assert.equal(found.pages, Math.ceil(Math.max(...touching.map(({ r }) => r)) / pageRanks));
    for (const [part, { ranks, a, b }] of found.parts.entries()) {
      // Memory holds no more ranks than the file: only pages pad them.
      const own = touching.filter(({ module }) => module === modules[part]);
      assert.equal(ranks, Math.max(0, ...own.map(({ r }) => r)));
      assert.deepEqual([a.length, b.length], [layers * ranks * inputs, layers * ranks * outs[part]!]);
    }
  }
  const held = [...resident.linears.values()].flatMap(({ parts, gains }) => [
    ...parts.flatMap(({ a, b }) => [a, b]),
    gains,
  ]);
  assert.equal(
    resident.bytes,
    held.reduce((sum, matrix) => sum + (matrix?.byteLength ?? 0), 0),
  );
  return resident;
}

for (const [what, plan, reach] of [
  ['one whole page', { modules: layerModules, r: 8 }, 'layers'],
  ['rank 1', { modules: ['q_proj', 'v_proj'], r: 1 }, 'attention'],
  ['rank 13, another alpha', { modules: layerModules, r: 13, alpha: 7.5 }, 'layers'],
  [
    'ranks by module',
    { modules: layerModules, r: 5, rankPattern: { v_proj: 17, 'layers.1.mlp.up_proj': 9 } },
    'layers',
  ],
  ['one layer', { modules: ['k_proj', 'down_proj'], r: 3, layers: [1] }, 'layers'],
  ['the head alone', { modules: ['lm_head'], r: 4 }, 'all'],
  ['everything', { modules: everyModule, r: 16 }, 'all'],
  // All pairs have one scaling, so the file's half floats are copied unchanged.
  ['half floats', { modules: layerModules, r: 8, type: 'F16' }, 'layers'],
  [
    'half floats, ranks and so scalings by module',
    { modules: everyModule, r: 5, rankPattern: { v_proj: 17 }, type: 'F16' },
    'all',
  ],
  ['half floats with DoRA', { modules: everyModule, r: 5, dora: true, type: 'F16' }, 'all'],
  ['DoRA', { modules: everyModule, r: 5, dora: true }, 'all'],
  ['DoRA on a part, in one layer', { modules: ['v_proj', 'gate_proj'], r: 9, layers: [0], dora: true }, 'all'],
] as const) {
  test(`in memory is what the definition says: ${what}`, async () => {
    const resident = await check(model, { seed: what.length, ...plan });
    assert.equal(resident.reach, reach);
  });
}

for (const bits of [4, 8] as const satisfies readonly LinearBits[]) {
  test(`DoRA's lengths are over the weights as they are served: ${bits} bits`, async () => {
    const quantised = await tinyLowered('llama', bits);
    const modules = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'down_proj', 'lm_head'] as const;
    await check(quantised, { seed: bits, modules, r: 6, dora: true });
  });
}

test('4 bits with minimums too', async () => {
  const gguf = await tinyLowered('llama-gguf', null);
  assert.ok([...gguf.linears.values()].some(({ corrected }) => corrected));
  assert.deepEqual(joinedSizes(gguf.shape), joinedSizes(shape));
  await check(gguf, { seed: 3, modules: layerModules, r: 4, dora: true });
});

const plan: AdapterPlan = { seed: 1, modules: ['q_proj'], r: 2 };

async function assertCorrupt(files: AdapterFiles, reason: RegExp): Promise<void> {
  await assert.rejects(readAdapter(files, { model, breath: noBreath }), (error: Error & { code?: string }) => {
    assert.equal(error.code, 'adapter_corrupt');
    assert.match(error.message, reason);
    assert.ok(error.message.includes(files.digest) && !error.message.includes(files.weights));
    return true;
  });
}

test('files that are altered, cut, exchanged or gone are damage, told from the digest', async () => {
  for (const which of ['config', 'weights'] as const) {
    const { files } = randomAdapter(shape, plan);
    const bytes = readFileSync(files[which]);
    bytes[bytes.length - 3]! ^= 1;
    writeFileSync(files[which], bytes);
    await assertCorrupt(files, /another digest/);
    truncateSync(files[which], 5);
    await assertCorrupt(files, /another digest/);
    truncateSync(files[which], 0);
    await assertCorrupt(files, /another digest/);
    rmSync(files[which]);
    await assertCorrupt(files, /cannot be read \(ENOENT\)/);
  }
  const [{ files }, { files: other }] = [randomAdapter(shape, plan), randomAdapter(shape, { ...plan, seed: 2 })];
  await assertCorrupt({ ...files, weights: other.weights }, /another digest/);
  await assertCorrupt({ ...files, config: files.weights, weights: files.config }, /another digest/);
});

test('another base model’s adapter is refused as the upload would be', async () => {
  const { files } = randomAdapter({ ...shape, hidden: shape.hidden / 2 }, plan);
  await assert.rejects(readAdapter(files, { model, breath: noBreath }), { code: 'adapter_invalid' });
});

test('a long load lets the event loop take its turns', async () => {
  // 10 MB of matrices, and a base of which only the shape matters.
  const large = { ...shape, layers: 8, hidden: 512, intermediate: 2048 };
  const { files } = randomAdapter(large, { seed: 5, modules: layerModules, r: 64 });
  let turns = 0;
  let isOver = false;
  const count = () => {
    turns++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  let breaths = 0;
  const breath = createBreath(systemClock);
  const counted: Breath = {
    take: () => {
      breaths++;
      return breath.take();
    },
  };
  const resident = await readAdapter(files, { model: { ...model, shape: large }, breath: counted });
  isOver = true;
  assert.ok(resident.bytes > 10e6);
  // At least one breath for each pair.
  assert.ok(breaths >= 8 * layerModules.length, `${breaths} breaths`);
  assert.ok(turns > 20, `${turns} turns`);
});
