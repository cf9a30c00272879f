// Past answers as tokens, from which later ones of the same kind are guessed. A shelf holds those that the same weights
// gave the same tenant (and user, where a request names one). The time that an answer takes can tell which text it was
// guessed from, so no text is ever guessed for another owner. Bounded: the owner with the most bytes gives up its least
// recently used shelf.

import { GuessRates } from './guess-rates.ts';
import { indexedTokenBytes, leastTokens, TokenIndex, textEnd } from './token-index.ts';

export type Shelf = { readonly index: TokenIndex; readonly rates: GuessRates };

/** Most tokens of one shelf, some hundred answers. */
const shelfTokensMax = 2 ** 15;
/** Largest share of the memory for one shelf. */
const shelfShare = 1 / 4;
/** Bytes of a shelf beside its index: its name, its rates and the objects. */
const shelfBytes = 4096;

type Owned = { readonly shelves: Map<string, Shelf>; bytes: number };

export class PastTexts {
  readonly #bytesMax: number;
  readonly #tokensMax: number;
  /** What each owner keeps; the shelf that was used last is the last in its map. */
  readonly #owners = new Map<string, Owned>();
  #bytes = 0;

  /** @param bytesMax nothing is kept if it is less than a few shelves take */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
    const tokens = Math.floor((bytesMax * shelfShare - shelfBytes) / indexedTokenBytes);
    this.#tokensMax = tokens < leastTokens ? 0 : Math.min(shelfTokensMax, 2 ** Math.floor(Math.log2(tokens)));
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** null where the owner has no such shelf. */
  shelf(owner: string, name: string): Shelf | null {
    const shelves = this.#owners.get(owner)?.shelves;
    const shelf = shelves?.get(name);
    if (!shelves || !shelf) return null;
    shelves.delete(name);
    shelves.set(name, shelf);
    return shelf;
  }

  add(owner: string, name: string, tokens: readonly number[]): void {
    if (this.#tokensMax === 0) return;
    const owned = this.#owners.get(owner) ?? { shelves: new Map<string, Shelf>(), bytes: 0 };
    this.#owners.set(owner, owned);
    const known = this.shelf(owner, name);
    const shelf = known ?? { index: new TokenIndex(this.#tokensMax), rates: new GuessRates() };
    owned.shelves.set(name, shelf);
    const before = known ? bytesOf(shelf) : 0;
    for (const token of tokens) shelf.index.push(token);
    shelf.index.push(textEnd);
    const more = bytesOf(shelf) - before;
    owned.bytes += more;
    this.#bytes += more;
    while (this.#bytes > this.#bytesMax) this.#forgetOne();
  }

  #forgetOne(): void {
    const [owner, owned] = [...this.#owners].reduce((a, b) => (b[1].bytes > a[1].bytes ? b : a));
    const [name, shelf] = owned.shelves.entries().next().value!;
    owned.shelves.delete(name);
    owned.bytes -= bytesOf(shelf);
    this.#bytes -= bytesOf(shelf);
    if (owned.shelves.size === 0) this.#owners.delete(owner);
  }
}

const bytesOf = ({ index }: Shelf) => index.bytes + shelfBytes;
