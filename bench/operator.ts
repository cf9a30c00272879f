// Times a single matrix product, in every form that a linear may take, over batch sizes.
//
//     npm run bench:operator [-- --rounds 9]

import { parseArgs } from 'node:util';
import type { Activations } from '../src/core/base-model.ts';
import { systemClock } from '../src/core/clock.ts';
import { prng } from '../src/core/prng.ts';
import { encodeOnnx } from '../src/formats/onnx.ts';
import { createGraphBuilder } from '../src/graph/graph-builder.ts';
import { hostLinear } from '../src/graph/linear.ts';
import { isFloats, type LinearBits, type LinearForm } from '../src/graph/lowered.ts';
import { packedBytes, packedFloatBytes } from '../src/graph/packed.ts';
import { createOnnxRuntime } from '../src/runtime/onnx-runtime.ts';
import type { Tensor } from '../src/runtime/session.ts';
import { spread } from './statistics.ts';

const { values: flags } = parseArgs({ options: { rounds: { type: 'string', default: '9' } } });
const runtime = createOnnxRuntime({ library: null, threads: null, spin: true });
const random = prng(1);

/** Copies of the product with weights of their own, so that weights come from memory as they do in a model. */
const copies = 16;
const batches = [1, 8, 16, 32, 128, 512];
const sizes = [
  { k: 576, n: 3072 },
  { k: 1536, n: 576 },
];
const forms: readonly {
  name: string;
  bits: LinearBits;
  corrected: boolean;
  halves: boolean;
  activations: Activations;
}[] = [
  { name: '4-bit, int8 activations', bits: 4, corrected: true, halves: true, activations: 'int8' },
  { name: '4-bit, int16 activations', bits: 4, corrected: true, halves: true, activations: 'int16' },
  { name: '4-bit, float scales, int8', bits: 4, corrected: true, halves: false, activations: 'int8' },
  { name: '8-bit, int8 activations', bits: 8, corrected: false, halves: true, activations: 'int8' },
  { name: '8-bit, int16 activations', bits: 8, corrected: false, halves: true, activations: 'int16' },
  { name: 'half-float weights', bits: 16, corrected: false, halves: false, activations: 'int16' },
  { name: 'float weights', bits: 32, corrected: false, halves: false, activations: 'int16' },
];

console.log(`microseconds a product, median of ${flags.rounds}; ${runtime.name}, ${runtime.threads} threads`);
for (const { k, n } of sizes) {
  console.log(`\n${k} x ${n}`.padEnd(28), ...batches.map((rows) => `M=${rows}`.padStart(8)));
  for (const { name, ...form } of forms) {
    const measure = await prepare({ ...form, k, n, bias: false }, form.activations);
    const times: string[] = [];
    for (const rows of batches) times.push((await measure(rows)).toFixed(0).padStart(8));
    console.log(name.padEnd(27), ...times);
  }
}
process.exit(0);

async function prepare(form: LinearForm, activations: Activations): Promise<(rows: number) => Promise<number>> {
  const g = createGraphBuilder();
  const weights = new Map<string, Tensor>();
  const add = (name: string, data: Float32Array | Uint8Array, shape: readonly number[]) => {
    g.weight(name, data instanceof Uint8Array ? 'uint8' : 'float32', shape);
    weights.set(name, runtime.tensor(data, shape));
  };
  const { k, n, bits } = form;
  g.input('x', 'float32', ['R', k]);
  g.input('coarse', 'int32', [1]);
  for (let copy = 0; copy < copies; copy++) {
    const name = `w${copy}`;
    if (bits === 32) add(`${name}.packed`, floats(k * n), [Math.ceil(n / 8), k, 8]);
    else {
      const length = bits === 16 ? packedFloatBytes(bits, n, k) : packedBytes({ ...form, bits });
      add(`${name}.packed`, bytes(length), [length]);
    }
    g.output(hostLinear(g, { name, form, coarse: 'coarse' }, { x: 'x' }, undefined, `y${copy}`), 'float32', ['R', n]);
  }
  const session = await runtime.session(encodeOnnx(g.build()), { weights });
  return async (rows) => {
    const binding = session.bind();
    binding.input('x', runtime.tensor(floats(rows * k), [rows, k]));
    const coarse = activations === 'int8' ? rows : 0;
    if (!isFloats(bits)) binding.input('coarse', runtime.tensor(Int32Array.of(coarse), [1]));
    const y = runtime.tensor(new Float32Array(rows * n), [rows, n]);
    for (let copy = 0; copy < copies; copy++) binding.output(`y${copy}`, y);
    await session.run(binding);
    const times: number[] = [];
    for (let round = 0; round < Number(flags.rounds); round++) {
      const start = systemClock.monotonic();
      await session.run(binding);
      times.push(((systemClock.monotonic() - start) * 1000) / copies);
    }
    binding.release();
    return spread(times).median;
  };
}

function floats(count: number): Float32Array {
  return Float32Array.from({ length: count }, () => random() - 0.5);
}

/** Random bytes below 56, of which no half float is an infinity or NaN. */
function bytes(count: number): Uint8Array {
  return Uint8Array.from({ length: count }, () => random() * 56);
}
