// Seeds in JSON text. Those of OpenAI and vLLM are signed 64-bit integers, which a JavaScript number rounds from 2^53
// on: neighbours would become one. Such a seed is folded into 52 bits, in which neighbours stay apart.

/**
 * A member of that name with so many digits. No string holds this: its quotes would be escaped, and an escaped quote
 * follows a backslash.
 */
const longSeed = /([{,\s]"seed"\s*:\s*)(-?\d{16,19})(?![\d.eE])/g;

/**
 * The text with its long seeds folded; its digits are written anew, so that nothing has to be called for every value
 * of what may be megabytes of them. One that is no 64-bit integer stays as it is, for the schema to refuse.
 */
export const withFoldedSeeds = (text: string): string =>
  text.replace(longSeed, (whole: string, name: string, digits: string) => {
    const seed = BigInt(digits);
    if (Number.isSafeInteger(Number(digits)) || BigInt.asIntN(64, seed) !== seed) return whole;
    const bits = BigInt.asUintN(64, seed);
    return `${name}${BigInt.asUintN(52, bits ^ (bits >> 52n))}`;
  });
