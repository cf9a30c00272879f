// Indexes texts of tokens by where a few tokens in a row stood in them. Finds the latest place first, as LZ77
// compressors do, by a hash of the few tokens and a chain of links from place to place. The oldest tokens make room for
// new ones. Knows tokens alone.

/** Tokens in a row by which places are found. */
const indexedTokens = 2;

/** Ends a text; no vocabulary has this id. */
export const textEnd = -1;

/** Most places that are looked at, and most tokens before each that are compared. */
const placesMax = 16;
const comparedMax = 32;

export const leastTokens = 512;
/** Bytes for a token, its link, and its share of the table in which chains begin. */
export const indexedTokenBytes = 12;
/** Bound of places, which are 32-bit integers: at this many tokens the index is emptied. */
const endMax = 2 ** 30;

/** A place `at` whose preceding `matched` tokens agree with the text's last ones; `at` is what followed. */
export type Place = { readonly at: number; readonly matched: number };

export class TokenIndex {
  readonly #tokensMax: number;
  #tokens = new Int32Array(leastTokens);
  /** For each token, the earlier place with the same hash. */
  #earlier = new Int32Array(leastTokens);
  #latest = new Int32Array(leastTokens);
  #end = 0;

  /** @param tokensMax most tokens that are kept, a power of two and at least `leastTokens` */
  constructor(tokensMax: number) {
    this.#tokensMax = tokensMax;
  }

  get bytes(): number {
    return this.#tokens.length * indexedTokenBytes;
  }

  /** The place of the next token. */
  get end(): number {
    return this.#end;
  }

  push(token: number): void {
    if (this.#end === this.#tokens.length && this.#end < this.#tokensMax) this.#grow();
    if (this.#end === endMax) this.#begin(this.#tokens.length);
    this.#tokens[this.#end & (this.#tokens.length - 1)] = token;
    this.#end++;
    const slot = this.#slot(token, this.token(this.#end - 2));
    this.#earlier[(this.#end - 1) & (this.#tokens.length - 1)] = this.#latest[slot]!;
    this.#latest[slot] = this.#end;
  }

  /** The token at a place; `textEnd` where it is no longer kept, or not there yet. */
  token(at: number): number {
    const size = this.#tokens.length;
    return at >= 0 && at < this.#end && at >= this.#end - size ? this.#tokens[at & (size - 1)]! : textEnd;
  }

  /** Places behind earlier occurrences of the last of a text's first `count` tokens, the latest first; mostly none. */
  places(text: readonly number[], count: number): Place[] {
    const found: Place[] = [];
    if (count < indexedTokens) return found;
    const oldest = Math.max(0, this.#end - this.#tokens.length);
    let at = this.#latest[this.#slot(text[count - 1]!, text[count - 2]!)]!;
    for (let i = 0; i < placesMax && at > oldest; i++) {
      const matched = this.#matched(text, count, at);
      // Different tokens may share a hash, and nothing follows the index's end.
      if (matched >= indexedTokens && at < this.#end) found.push({ at, matched });
      const earlier = this.#earlier[(at - 1) & (this.#tokens.length - 1)]!;
      at = earlier < at ? earlier : 0;
    }
    return found;
  }

  #matched(text: readonly number[], count: number, at: number): number {
    const most = Math.min(comparedMax, count);
    let matched = 0;
    while (matched < most) {
      const token = this.token(at - 1 - matched);
      if (token === textEnd || token !== text[count - 1 - matched]) break;
      matched++;
    }
    return matched;
  }

  #slot(last: number, before: number): number {
    const key = Math.imul(Math.imul(before, 0x9e3779b1) ^ last, 0x85ebca6b);
    return (key ^ (key >>> 15)) & (this.#latest.length - 1);
  }

  #grow(): void {
    const tokens = this.#tokens;
    this.#begin(tokens.length * 2);
    for (const token of tokens) this.push(token);
  }

  #begin(size: number): void {
    this.#tokens = new Int32Array(size);
    this.#earlier = new Int32Array(size);
    this.#latest = new Int32Array(size);
    this.#end = 0;
  }
}
