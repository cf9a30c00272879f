// Seeds in JSON text. Seeds of OpenAI's and vLLM's clients are signed 64-bit integers, which a JavaScript number rounds
// from 2^53 on, so that neighbouring seeds would become equal. Such a seed is folded into 52 bits, in which neighbours
// stay apart.

/**
 * Matches a `seed` member whose value has 16 to 19 digits. A match cannot lie inside a string: there the quotes would
 * be escaped, and an escaped quote follows a backslash.
 */
const longSeed = /([{,\s]"seed"\s*:\s*)(-?\d{16,19})(?![\d.eE])/g;

/**
 * Folds the long seeds of a JSON text. The digits are rewritten in the text itself, so that no reviver is called for
 * every value of megabytes of JSON. A number that is no 64-bit integer stays as it is, for the schema to refuse.
 */
export const withFoldedSeeds = (text: string): string =>
  text.replace(longSeed, (whole: string, name: string, digits: string) => {
    const seed = BigInt(digits);
    if (Number.isSafeInteger(Number(digits)) || BigInt.asIntN(64, seed) !== seed) return whole;
    const bits = BigInt.asUintN(64, seed);
    return `${name}${BigInt.asUintN(52, bits ^ (bits >> 52n))}`;
  });
