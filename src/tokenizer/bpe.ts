// Byte-pair encoding of one piece of text: pairs of symbols are merged, the lowest rank first and the leftmost among
// equals. Knows no added tokens, and never gives a control token, since its vocabulary has none.

import { toByteCharacters } from './byte-alphabet.ts';
import { createHeap } from './heap.ts';
import { invalid } from './refuse.ts';
import type { BpeModel } from './tokenizer-schema.ts';

export type EncodePiece = (piece: string) => readonly number[];

type Merges = {
  /** Ranks by left * size + right. */
  readonly ranks: ReadonlyMap<number, number>;
  /** Merged tokens by rank. */
  readonly merged: readonly number[];
  readonly size: number;
};

/**
 * Cached pieces, and the longest piece that is cached. Words repeat, 64 characters hold nearly all of them, and the
 * cache stays below some 10 MB.
 */
const cachedPieces = 32_768;
const cachedPieceChars = 64;

export function createBpe(model: BpeModel, vocabulary: ReadonlyMap<string, number>, byteLevel: boolean): EncodePiece {
  const merges = readMerges(model.merges, vocabulary);
  const toSymbols = symbolReader(model, vocabulary);
  const cache = new Map<string, readonly number[]>();

  function encode(piece: string): readonly number[] {
    const spelling = byteLevel ? toByteCharacters(piece) : piece;
    const whole = model.ignore_merges ? vocabulary.get(spelling) : undefined;
    return whole === undefined ? merge(toSymbols(spelling), merges) : [whole];
  }

  return (piece) => {
    if (piece.length > cachedPieceChars) return encode(piece);
    const known = cache.get(piece);
    if (known !== undefined) return known;
    const tokens = encode(piece);
    if (cache.size >= cachedPieces) cache.clear();
    cache.set(piece, tokens);
    return tokens;
  };
}

/**
 * Makes a reader of characters as tokens. A character without a token becomes its bytes, or the unknown token, or
 * nothing, as the model says.
 */
function symbolReader(model: BpeModel, vocabulary: ReadonlyMap<string, number>): (spelling: string) => number[] {
  const unknown = typeof model.unk_token === 'string' ? model.vocab[model.unk_token] : undefined;
  const byteTokens = model.byte_fallback
    ? Array.from({ length: 256 }, (_, byte) => vocabulary.get(byteTokenName(byte)))
    : [];

  return (spelling) => {
    const symbols: number[] = [];
    for (const character of spelling) {
      const token = vocabulary.get(character);
      if (token !== undefined) {
        symbols.push(token);
        continue;
      }
      const bytes = Array.from(Buffer.from(character, 'utf8'), (byte) => byteTokens[byte]);
      if (bytes.every((byte) => byte !== undefined)) symbols.push(...bytes);
      else if (unknown !== undefined && !(model.fuse_unk && symbols.at(-1) === unknown)) symbols.push(unknown);
    }
    return symbols;
  };
}

export function byteTokenName(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
}

function readMerges(list: BpeModel['merges'], vocabulary: ReadonlyMap<string, number>): Merges {
  let size = 0;
  for (const token of vocabulary.values()) size = Math.max(size, token + 1);
  const ranks = new Map<number, number>();
  const merged: number[] = [];
  for (const entry of list) {
    const [left, right] = pairOf(entry);
    const [leftToken, rightToken] = [vocabulary.get(left), vocabulary.get(right)];
    const token = vocabulary.get(left + right);
    // A merge that would make a control token is left out.
    if (leftToken !== undefined && rightToken !== undefined && token !== undefined) {
      ranks.set(leftToken * size + rightToken, merged.length);
    }
    merged.push(token ?? -1);
  }
  return { ranks, merged, size };
}

/** Reads a merge: `"a b"`, or `["a", "b"]` in newer files. */
function pairOf(entry: unknown): readonly [string, string] {
  const [left, right, ...rest] = typeof entry === 'string' ? entry.split(' ') : Array.isArray(entry) ? entry : [];
  if (typeof left === 'string' && typeof right === 'string' && rest.length === 0) return [left, right];
  throw invalid(`The tokeniser's merge ${JSON.stringify(entry)} is not a pair.`);
}

function merge(symbols: number[], { ranks, merged, size }: Merges): readonly number[] {
  const count = symbols.length;
  if (count < 2) return symbols;
  // The symbols form a doubly linked list over positions. A queue entry is rank * count + position, so that one number
  // orders by both.
  const next = new Int32Array(count);
  const previous = new Int32Array(count);
  for (let position = 0; position < count; position++) {
    next[position] = position + 1;
    previous[position] = position - 1;
  }
  const queue = createHeap();
  const rankAt = (left: number) => {
    const right = next[left]!;
    return right < count ? ranks.get(symbols[left]! * size + symbols[right]!) : undefined;
  };
  const offer = (left: number) => {
    const rank = rankAt(left);
    if (rank !== undefined) queue.push(rank * count + left);
  };

  for (let position = 0; position < count - 1; position++) offer(position);
  for (let entry = queue.pop(); entry !== undefined; entry = queue.pop()) {
    const left = entry % count;
    const rank = (entry - left) / count;
    // An entry is stale when one of its symbols has been merged since.
    if (symbols[left] === -1 || rankAt(left) !== rank) continue;
    const right = next[left]!;
    symbols[left] = merged[rank]!;
    symbols[right] = -1;
    next[left] = next[right]!;
    if (next[left]! < count) previous[next[left]!] = left;
    if (previous[left]! >= 0) offer(previous[left]!);
    offer(left);
  }
  return symbols.filter((symbol) => symbol !== -1);
}
