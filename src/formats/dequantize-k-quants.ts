// K-quants: blocks of 256 weights in groups of 32 (Q4_K, Q5_K) or 16 (Q6_K), whose scales are themselves quantised.

import { halfAt } from './half.ts';

const weights = 256;

/** d, dmin, 12 bytes of scales, 128 bytes of nibbles: w = d · scale · q - dmin · min. */
export function q4K(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, to = 0; to < out.length; at += 144, to += weights) {
    const d = halfAt(bytes, at);
    const dMin = halfAt(bytes, at + 2);
    for (let group = 0; group < 8; group++) {
      const scale = d * scaleOf(bytes, at + 4, group);
      const min = dMin * minOf(bytes, at + 4, group);
      // Two groups share 32 bytes: the even one has the low halves.
      const from = at + 16 + 32 * (group >> 1);
      const shift = 4 * (group & 1);
      for (let j = 0; j < 32; j++) out[to + 32 * group + j] = scale * ((bytes[from + j]! >> shift) & 15) - min;
    }
  }
}

/** d, dmin, 12 bytes of scales, 32 bytes of fifth bits (bit g for group g), 128 bytes of nibbles: as Q4_K. */
export function q5K(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, to = 0; to < out.length; at += 176, to += weights) {
    const d = halfAt(bytes, at);
    const dMin = halfAt(bytes, at + 2);
    for (let group = 0; group < 8; group++) {
      const scale = d * scaleOf(bytes, at + 4, group);
      const min = dMin * minOf(bytes, at + 4, group);
      const from = at + 48 + 32 * (group >> 1);
      const shift = 4 * (group & 1);
      for (let j = 0; j < 32; j++) {
        const fifth = (bytes[at + 16 + j]! >> group) & 1;
        out[to + 32 * group + j] = scale * (((bytes[from + j]! >> shift) & 15) | (fifth << 4)) - min;
      }
    }
  }
}

/** 128 bytes of nibbles, 64 bytes of the upper two bits, 16 signed scales, d: w = d · scale · (q - 32). */
export function q6K(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, to = 0; to < out.length; at += 210, to += weights) {
    const d = halfAt(bytes, at + 208);
    for (let group = 0; group < 16; group++) {
      const scale = d * ((bytes[at + 192 + group]! << 24) >> 24);
      // Each half of the block has its own 64 bytes of nibbles and 32 of upper bits, and runs of 32 weights in it:
      // runs 0 and 1 in the low nibbles, 2 and 3 in the high ones; run r's upper bits in bits 2r and 2r + 1.
      const half = group >> 3;
      const run = (group >> 1) & 3;
      const within = 16 * (group & 1);
      const low = at + 64 * half + 32 * (run & 1) + within;
      const high = at + 128 + 32 * half + within;
      const shift = 4 * (run >> 1);
      for (let j = 0; j < 16; j++) {
        const upper = (bytes[high + j]! >> (2 * run)) & 3;
        out[to + 16 * group + j] = scale * ((((bytes[low + j]! >> shift) & 15) | (upper << 4)) - 32);
      }
    }
  }
}

// Eight scales and eight minima of 6 bits in 12 bytes: groups 0 to 3 have theirs in the low six bits of bytes 0 to 3
// (scales) and 4 to 7 (minima); groups 4 to 7 have four low bits in bytes 8 to 11 and two high bits left over above.

const scaleOf = (bytes: Uint8Array, at: number, group: number) =>
  group < 4 ? bytes[at + group]! & 63 : (bytes[at + group + 4]! & 15) | ((bytes[at + group - 4]! >> 6) << 4);

const minOf = (bytes: Uint8Array, at: number, group: number) =>
  group < 4 ? bytes[at + group + 4]! & 63 : (bytes[at + group + 4]! >> 4) | ((bytes[at + group]! >> 6) << 4);
