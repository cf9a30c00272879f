// bfloat16 numbers: every one of them there and back, and what is between two of them.

import assert from 'node:assert/strict';
import test from 'node:test';
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

test('no number stays none, whatever its bits', () => {
  const bits = Uint32Array.of(0x7f800001, 0x7fffffff, 0xff800001, 0xffffffff, 0x7fc00000);
  const none = ofBfloat16(toBfloat16(new Float32Array(bits.buffer)));
  assert.ok(none.every(Number.isNaN));
});

test('exports round alike, and refuse what becomes infinite', () => {
  const values = Float64Array.from({ length: 4096 }, (_, i) => Math.fround(Math.sin(i) * 10 ** ((i % 60) - 30)));
  const encoded = encodeFloats('BF16', values);
  assert.deepEqual(new Uint16Array(encoded.buffer), new Uint16Array(toBfloat16(values)));
  assert.throws(() => encodeFloats('BF16', Float64Array.of(3.4e38)), RangeError);
});
