// A small seeded generator (xoshiro128**, Blackman and Vigna, public domain), so that one seed replays one run.

/** Uniform numbers in [0, 1) with 32 bits of resolution. */
export type Prng = () => number;

/** The same seed gives the same sequence on every machine. `seed` is any safe integer. */
export function prng(seed: number): Prng {
  // SplitMix32 spreads the seed over the state: nearby seeds give unrelated sequences.
  let z = (seed ^ Math.floor(seed / 2 ** 32)) >>> 0;
  const next = () => {
    z = (z + 0x9e3779b9) >>> 0;
    let t = z ^ (z >>> 16);
    t = Math.imul(t, 0x21f0aaad);
    t ^= t >>> 15;
    t = Math.imul(t, 0x735a2d97);
    return (t ^ (t >>> 15)) >>> 0;
  };
  let a = next();
  let b = next();
  let c = next();
  let d = next();
  return () => {
    const result = Math.imul(rotl(Math.imul(b, 5), 7), 9) >>> 0;
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = rotl(d, 11);
    return result / 2 ** 32;
  };
}

/**
 * Derives a seed for one purpose: seeds whose paths differ give unrelated sequences. Parts of a path are below 2^20.
 */
export function seedFor(seed: number, ...path: readonly number[]): number {
  return path.reduce((parent, part) => prng(parent)() * 2 ** 32 + part * 2 ** 32, seed);
}

const rotl = (x: number, k: number) => (x << k) | (x >>> (32 - k));
