// The native linears with everything around their product, against plain loops: any sizes, ranks and tables, on this
// processor and as the scalar reference; and that a row's bits depend on the row alone.

import assert from 'node:assert/strict';
import test from 'node:test';
import { type AdapterBits, pageBlocks, pageElements, rankElements } from '../../src/core/page-sizes.ts';
import { prng } from '../../src/core/prng.ts';
import { decodedRanks } from '../../src/engine/adapters/coded-ranks.ts';
import { writeRanks } from '../../src/engine/adapters/host-page.ts';
import { encodeOnnx } from '../../src/formats/onnx.ts';
import { createGraphBuilder } from '../../src/graph/graph-builder.ts';
import { hostLinear } from '../../src/graph/linear.ts';
import { createPackedFloats, packedFloatTensor, writeFloats } from '../../src/graph/packed.ts';
import { createOnnxRuntime } from '../../src/runtime/onnx-runtime.ts';
import { runOnce } from '../../src/runtime/run-once.ts';
import type { Runtime } from '../../src/runtime/session.ts';

const ranksOfPage = 8;

type Linear = {
  readonly inputs: number;
  readonly outs: readonly number[];
  readonly slots: number;
  /** Bits of the pages' values. */
  readonly bits: AdapterBits;
  /** Rows of W [out, in]. */
  readonly weights: readonly Float32Array[];
  /** [out] and [in]; null where left out. */
  readonly bias: Float32Array<ArrayBuffer> | null;
  readonly norm: Float32Array<ArrayBuffer> | null;
  /** Whether rows bring gate beside up. */
  readonly gated: boolean;
};
/** Pages of A and B with ranks as rows. */
type Pools = { readonly a: readonly Float16Array<ArrayBuffer>[]; readonly b: readonly Float16Array<ArrayBuffer>[] };
type Rows = {
  readonly rows: number;
  readonly columns: number;
  readonly x: Float32Array<ArrayBuffer>;
  /** [rows, out] */
  readonly residual: Float32Array<ArrayBuffer> | null;
  readonly pages: Int32Array;
  readonly shares: Float32Array<ArrayBuffer>;
  /** [gains, out] */
  readonly gain: Float32Array<ArrayBuffer> | null;
  /** [rows] */
  readonly gainOf: Int32Array;
};

const widthOf = ({ outs }: Linear) => outs.reduce((sum, out) => sum + out, 0);

const epsilon = 1e-5;
const xWidthOf = ({ inputs, gated }: Linear) => (gated ? 2 : 1) * inputs;

type Optional = { readonly hasGain: boolean; readonly hasResidual: boolean };

async function open(runtime: Runtime, linear: Linear, pools: Pools, { hasGain, hasResidual }: Optional) {
  const { inputs, outs, slots, bits, weights, bias, norm, gated } = linear;
  const width = widthOf(linear);
  /** Ranks in the order in which the operator takes them. */
  const paged = (rows: Float16Array<ArrayBuffer>, width: number, block: number) => {
    const elements = pageElements(width, block, bits);
    const pages = new Uint16Array(slots * elements);
    const ofPage = ranksOfPage * rankElements(width, bits);
    for (let slot = 0; slot < slots; slot++) {
      const own = new Uint16Array(rows.buffer, 2 * slot * ofPage, ofPage);
      writeRanks(pages, slot, own, ranksOfPage, { width, block, bits });
    }
    return runtime.tensor(new Float16Array(pages.buffer), [slots, elements]);
  };
  const packed = createPackedFloats(32, width, inputs);
  for (const [row, values] of weights.entries()) writeFloats(packed, inputs, row, values);
  const { type, shape } = packedFloatTensor(width, inputs, packed);
  const g = createGraphBuilder();
  const x = g.input('x', 'float32', ['R', xWidthOf(linear)]);
  g.weight('l.packed', type, shape);
  if (bias) g.weight('l.bias', 'float32', [width]);
  if (norm) g.weight('norm', 'float32', [inputs]);
  const residual = hasResidual ? g.input('residual', 'float32', ['R', width]) : '';
  const tables = [g.input('pages', 'int32', ['R', 'C']), g.input('shares', 'float32', ['R', 'C'])];
  const gain = hasGain ? [g.input('gain', 'float32', ['G', width]), g.input('gain_of', 'int32', ['R'])] : ['', ''];
  const parts = outs.flatMap((out, i) => [
    g.input(`a${i}`, 'float16', ['slots', pageElements(inputs, pageBlocks.a, bits)]),
    g.input(`b${i}`, 'float16', ['slots', pageElements(out, pageBlocks.b, bits)]),
  ]);
  hostLinear(
    g,
    { name: 'l', form: { bits: 32, n: width, k: inputs, corrected: false, halves: false, bias: bias !== null } },
    { x, ...(norm && { norm: { weight: 'norm', epsilon } }), gated, residual },
    { outs, bits, operands: [...tables, ...gain, ...parts] },
    'y',
  );
  g.output('y', 'float32', ['R', width]);
  const constants = new Map([['l.packed', runtime.tensor(packed, shape)]]);
  if (bias) constants.set('l.bias', runtime.tensor(bias, [width]));
  if (norm) constants.set('norm', runtime.tensor(norm, [inputs]));
  const session = await runtime.session(encodeOnnx(g.build()), { weights: constants });
  return {
    async run({ rows, columns, x, residual, pages, shares, gain, gainOf }: Rows): Promise<Float32Array> {
      const y = new Float32Array(rows * width);
      await runOnce(session, ({ input, output }) => {
        input('x', runtime.tensor(x, [rows, xWidthOf(linear)]));
        if (residual) input('residual', runtime.tensor(residual, [rows, width]));
        input('pages', runtime.tensor(pages, [rows, columns]));
        input('shares', runtime.tensor(shares, [rows, columns]));
        if (gain) {
          input('gain', runtime.tensor(gain, [gain.length / width, width]));
          input('gain_of', runtime.tensor(gainOf, [rows]));
        }
        for (const [i, out] of outs.entries()) {
          input(`a${i}`, paged(pools.a[i]!, inputs, pageBlocks.a));
          input(`b${i}`, paged(pools.b[i]!, out, pageBlocks.b));
        }
        output('y', runtime.tensor(y, [rows, width]));
      });
      return y;
    },
    release: () => session.release(),
  };
}

/** Row `row` as the product takes it. */
function preparedRow({ inputs, gated, norm }: Linear, { x }: Rows, row: number): Float64Array {
  const at = (i: number) => x[row * inputs * (gated ? 2 : 1) + i]!;
  const own = Float64Array.from({ length: inputs }, (_, i) =>
    gated ? (at(i) / (1 + Math.exp(-at(i)))) * at(inputs + i) : at(i),
  );
  if (!norm) return own;
  const mean = own.reduce((sum, value) => sum + value * value, 0) / inputs;
  return own.map((value, i) => (value / Math.sqrt(mean + epsilon)) * norm[i]!);
}

/** The result by definition, in double precision. */
function expected(linear: Linear, pools: Pools, given: Rows): Float64Array {
  const { inputs, outs, bits, weights, bias } = linear;
  const valuesOf = (pool: Float16Array<ArrayBuffer>, width: number) => (bits === 8 ? decodedRanks(pool, width) : pool);
  const a = pools.a.map((pool) => valuesOf(pool, inputs));
  const b = pools.b.map((pool, part) => valuesOf(pool, outs[part]!));
  const width = widthOf(linear);
  const { rows, columns, residual, pages, shares, gain, gainOf } = given;
  const y = new Float64Array(rows * width);
  for (let row = 0; row < rows; row++) {
    const x = preparedRow(linear, given, row);
    const times = (values: ArrayLike<number>, from: number) => x.reduce((sum, v, i) => sum + v * values[from + i]!, 0);
    for (let o = 0; o < width; o++) {
      y[row * width + o] = times(weights[o]!, 0) * (gain?.[gainOf[row]! * width + o] ?? 1);
    }
    for (let c = 0; c < columns; c++) {
      const page = pages[row * columns + c]!;
      let first = row * width;
      for (const [part, out] of outs.entries()) {
        for (let rank = page * ranksOfPage; page >= 0 && rank < (page + 1) * ranksOfPage; rank++) {
          if (Number.isNaN(a[part]![rank * inputs]!)) break;
          const inner = times(a[part]!, rank * inputs) * shares[row * columns + c]!;
          for (let o = 0; o < out; o++) y[first + o]! += inner * b[part]![rank * out + o]!;
        }
        first += out;
      }
    }
    for (let o = 0; o < width; o++) y[row * width + o]! += (bias?.[o] ?? 0) + (residual?.[row * width + o] ?? 0);
  }
  return y;
}

type Random = () => number;
const below = (random: Random, count: number) => Math.floor(random() * count);
const floats = (random: Random, length: number) => Float32Array.from({ length }, () => random() - 0.5);

function randomLinear(random: Random, inputs = 1 + below(random, 140)): { linear: Linear; pools: Pools } {
  const bits = random() < 0.5 ? 8 : 16;
  const count = 1 + below(random, 3);
  const outs = Array.from({ length: count }, () => 1 + below(random, 300));
  const width = outs.reduce((sum, out) => sum + out, 0);
  const gated = random() < 0.3;
  const linear = {
    ...({ inputs, outs, slots: 1 + below(random, 34), bits, gated } as const),
    weights: Array.from({ length: width }, () => floats(random, inputs)),
    bias: random() < 0.5 ? floats(random, width) : null,
    norm: !gated && random() < 0.5 ? floats(random, inputs) : null,
  };
  const pools = randomPools(random, linear);
  // Some pages have fewer ranks, or none.
  for (const a of pools.a) {
    for (let page = 0; page < linear.slots; page++) {
      const ranks = random() < 0.6 ? ranksOfPage : below(random, ranksOfPage);
      if (ranks < ranksOfPage) a[(page * ranksOfPage + ranks) * rankElements(inputs, bits)] = Number.NaN;
    }
  }
  return { linear, pools };
}

/** Half floats; or scales up to a 256th with any codes. */
function randomPools(random: Random, { inputs, outs, slots, bits }: Linear): Pools {
  const pool = (width: number) => {
    const stride = rankElements(width, bits);
    const values = Float16Array.from(floats(random, slots * ranksOfPage * stride));
    if (bits === 16) return values;
    const codes = new Int8Array(values.buffer).map(() => below(random, 255) - 127);
    const coded = new Float16Array(codes.buffer);
    for (let rank = 0; rank < slots * ranksOfPage; rank++) coded[rank * stride] = (0.5 + random()) / 256;
    return coded;
  };
  return { a: outs.map(() => pool(inputs)), b: outs.map(pool) };
}

type Gains = 'none' | 'one' | 'many';

/** Rows on any pages, several on the same ones: up to rank 256. */
function randomRows(random: Random, linear: Linear, rows: number, gains: Gains, hasResidual: boolean): Rows {
  const columns = below(random, 33);
  const pages = new Int32Array(rows * columns).fill(-1);
  for (let row = 0; row < rows; row++) {
    if (row > 0 && random() < 0.5) {
      const other = below(random, row);
      pages.copyWithin(row * columns, other * columns, (other + 1) * columns);
    } else {
      const own = below(random, columns + 1);
      for (let c = 0; c < own; c++) pages[row * columns + c] = below(random, linear.slots + 1) - 1;
    }
  }
  const shares = floats(random, rows * columns).map((share) => (random() < 0.2 ? 0 : share));
  const width = widthOf(linear);
  const count = gains === 'many' ? 1 + below(random, rows) : 1;
  const gain = gains === 'none' ? null : floats(random, count * width);
  return {
    ...{ rows, columns, pages, shares, gain },
    gainOf: Int32Array.from({ length: rows }, () => below(random, count)),
    x: floats(random, rows * xWidthOf(linear)),
    residual: hasResidual ? floats(random, rows * width) : null,
  };
}

function rowOf({ columns, x, residual, pages, shares, gain, gainOf }: Rows, linear: Linear, row: number): Rows {
  const slice = <T extends { slice(start: number, end: number): T }>(values: T, width: number) =>
    values.slice(row * width, (row + 1) * width);
  const width = widthOf(linear);
  return {
    ...{ rows: 1, columns, x: slice(x, xWidthOf(linear)), residual: residual && slice(residual, width) },
    ...{ pages: slice(pages, columns), shares: slice(shares, columns) },
    ...{ gain, gainOf: slice(gainOf, 1) },
  };
}

for (const variant of [null, 'scalar']) {
  const runtime = createOnnxRuntime({ library: null, threads: 2, spin: false, variant });

  test(`rows by pages are what the definition says, on ${variant ?? 'this processor'}`, async () => {
    const random = prng(7);
    for (let round = 0; round < 60; round++) {
      const { linear, pools } = randomLinear(random);
      const gains = (['none', 'one', 'many'] as const)[round % 3]!;
      const hasResidual = round % 2 === 0;
      const given = randomRows(random, linear, [1, 2, 5, 40, 133][round % 5]!, gains, hasResidual);
      const operator = await open(runtime, linear, pools, { hasGain: gains !== 'none', hasResidual });
      const y = await operator.run(given);
      const wanted = expected(linear, pools, given);
      for (const [i, value] of y.entries()) {
        assert.ok(Math.abs(value - wanted[i]!) < 5e-5 * (1 + Math.abs(wanted[i]!)), `${value} is not ${wanted[i]}`);
      }
      operator.release();
    }
  });

  test(`a row has the same bits alone and beside any others, on ${variant ?? 'this processor'}`, async () => {
    const random = prng(8);
    for (let round = 0; round < 30; round++) {
      const { linear, pools } = randomLinear(random);
      const gains = (['none', 'one', 'many'] as const)[round % 3]!;
      const hasResidual = round % 2 === 0;
      const given = randomRows(random, linear, [3, 17, 70][round % 3]!, gains, hasResidual);
      const operator = await open(runtime, linear, pools, { hasGain: gains !== 'none', hasResidual });
      const width = widthOf(linear);
      const together = await operator.run(given);
      for (let row = 0; row < given.rows; row++) {
        const alone = await operator.run(rowOf(given, linear, row));
        assert.deepEqual(together.subarray(row * width, (row + 1) * width), alone, `row ${row}`);
      }
      operator.release();
    }
  });

  test(`what a row overflows to stays its own, on ${variant ?? 'this processor'}`, async () => {
    const random = prng(9);
    const plain = { ...randomLinear(random, 40).linear, gated: false, norm: null, bias: null };
    const linear = {
      ...plain,
      outs: [30, 50],
      slots: 3,
      bits: 16 as const,
      weights: Array.from({ length: 80 }, () => floats(random, 40)),
    };
    const pools = randomPools(random, linear);
    const rows = { ...randomRows(random, linear, 4, 'none', false), columns: 1 };
    const given = { ...rows, pages: Int32Array.of(0, 1, 0, -1), shares: Float32Array.of(1, 1, 1, 0) };
    const operator = await open(runtime, linear, pools, { hasGain: false, hasResidual: false });
    const before = await operator.run(given);
    const x = given.x.slice();
    x.fill(3e38, linear.inputs, 2 * linear.inputs);
    const after = await operator.run({ ...given, x });
    const width = widthOf(linear);
    assert.ok(after.subarray(width, 2 * width).some((value) => !Number.isFinite(value)));
    for (const row of [0, 2, 3]) {
      const own = (y: Float32Array) => y.subarray(row * width, (row + 1) * width);
      assert.deepEqual(own(after), own(before));
    }
    operator.release();
  });
}

test('threads change no bit', async () => {
  const random = prng(10);
  const { linear, pools } = randomLinear(random);
  const given = randomRows(random, linear, 90, 'none', true);
  const optional = { hasGain: false, hasResidual: true };
  const results = [];
  for (const threads of [1, 3]) {
    const operator = await open(createOnnxRuntime({ library: null, threads, spin: false }), linear, pools, optional);
    results.push(await operator.run(given));
    operator.release();
  }
  assert.deepEqual(results[0], results[1]);
});

test('tables that do not fit are refused, and nothing outside the pools is read', async () => {
  const runtime = createOnnxRuntime({ library: null, threads: 1, spin: false });
  const random = prng(11);
  const plain = { ...randomLinear(random, 8).linear, gated: false, norm: null, bias: null };
  const linear = {
    ...plain,
    outs: [8],
    slots: 2,
    bits: 16 as const,
    weights: Array.from({ length: 8 }, () => floats(random, 8)),
  };
  const halves = () => new Float16Array(linear.slots * ranksOfPage * 8);
  const operator = await open(
    runtime,
    linear,
    { a: [halves()], b: [halves()] },
    { hasGain: false, hasResidual: false },
  );
  const given = { ...randomRows(random, linear, 1, 'none', false), columns: 1, shares: Float32Array.of(1) };
  await assert.rejects(operator.run({ ...given, pages: Int32Array.of(2) }), /a page that is not there/);
  operator.release();
});
