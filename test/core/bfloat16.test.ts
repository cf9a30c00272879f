// bfloat16 numbers: every one of them there and back, and what is between two of them.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { BFloat16Array, ofBfloat16, toBfloat16 } from '../../src/core/bfloat16.ts';
import { encodeFloats } from '../../src/formats/encode-floats.ts';

const every = new BFloat16Array(Uint16Array.from({ length: 65_536 }, (_, bits) => bits));

test('every bfloat16 is itself as a float, and comes back', () => {
  const floats = ofBfloat16(every);
  const back = toBfloat16(floats);
  for (const [bits, value] of floats.entries()) {
    if (Number.isNaN(value)) assert.ok(Number.isNaN(ofBfloat16(back.subarray(bits, bits + 1))[0]));
    else assert.equal(back[bits], bits);
  }
  assert.deepEqual([floats[0x3f80], floats[0xc0a0], floats[0x7f80]], [1, -5, Number.POSITIVE_INFINITY]);
});

test('what is between two goes to the nearer, and from the middle to the even one', () => {
  const floats = ofBfloat16(every);
  const bitsOf = (value: number) => toBfloat16([value])[0];
  for (let bits = 0; bits < 0x7f7f; bits++) {
    const [low, high] = [floats[bits]!, floats[bits + 1]!];
    const middle = (low + high) / 2;
    const even = bits % 2 === 0 ? bits : bits + 1;
    // A quarter of the smallest step is below what a float holds.
    assert.deepEqual([bitsOf(middle), bitsOf(-middle)], [even, even | 0x8000], `${middle}`);
    if (bits > 0) {
      assert.equal(bitsOf(low + (middle - low) * 0.99), bits);
      assert.equal(bitsOf(high - (high - middle) * 0.99), bits + 1);
    }
  }
  assert.deepEqual([3.4e38, -3.4e38].map(bitsOf), [0x7f80, 0xff80], 'past the middle of the last step');
});

/** Exact reference: compares with the middle of the two neighbours, which a number holds exactly. */
function nearestBits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  let [low, high] = [0, 0x7f80];
  while (high - low > 1) {
    const bits = (low + high) >> 1;
    if (finite[bits]! <= size) low = bits;
    else high = bits;
  }
  const middle = (finite[low]! + finite[high]!) / 2;
  const isUpper = size > middle || (size === middle && low % 2 === 1);
  return (isUpper ? high : low) | sign;
}

/** Sizes by their bits. What lies in infinity's place is a step beyond the largest. */
const finite = [...ofBfloat16(every).subarray(0, 0x7f80), 2 ** 128];

test('a number of 64 bits is rounded once: not to 32 bits first, whose result may be a middle', () => {
  const nearMiddle = fc
    .tuple(fc.integer({ min: 0, max: 0x7f7f }), fc.integer({ min: -40, max: 40 }), fc.integer({ min: 20, max: 52 }))
    .map(([bits, steps, places]) => ((finite[bits]! + finite[bits + 1]!) / 2) * (1 + steps * 2 ** -places));
  const any = fc.double({ min: -3.5e38, max: 3.5e38, noNaN: true });
  fc.assert(
    fc.property(fc.oneof(nearMiddle, any), fc.boolean(), (size, isNegative) => {
      const value = isNegative ? -size : size;
      assert.equal(toBfloat16([value])[0], nearestBits(value), `${value}`);
    }),
    { numRuns: 5000 },
  );
  const above = 1 + 2 ** -8 + 2 ** -40;
  assert.equal(ofBfloat16(toBfloat16([above]))[0], 1 + 2 ** -7);
});

test('no number stays none, whatever its bits', () => {
  const bits = Uint32Array.of(0x7f800001, 0x7fffffff, 0xff800001, 0xffffffff, 0x7fc00000);
  const none = ofBfloat16(toBfloat16(new Float32Array(bits.buffer)));
  assert.ok(none.every(Number.isNaN));
});

test('half floats between hold every bfloat16 from 2^-17 on, and smaller ones to 2^-25', () => {
  const floats = ofBfloat16(every);
  for (const [bits, value] of floats.entries()) {
    if (!(Math.abs(value) <= 65_504)) continue;
    const back = toBfloat16([Math.f16round(value)]);
    if (Math.abs(value) >= 2 ** -17) assert.equal(back[0], bits, `${value}`);
    else assert.ok(Math.abs(ofBfloat16(back)[0]! - value) <= 2 ** -25, `${value}`);
  }
});

test('exports round alike, and refuse what becomes infinite', () => {
  const values = Float64Array.from({ length: 4096 }, (_, i) => Math.sin(i) * 10 ** ((i % 60) - 30));
  const encoded = encodeFloats('BF16', values);
  assert.deepEqual(new Uint16Array(encoded.buffer), new Uint16Array(toBfloat16(values)));
  assert.throws(() => encodeFloats('BF16', Float64Array.of(3.4e38)), RangeError);
});
