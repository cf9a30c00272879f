// What every token of a tokeniser spells, in one piece: for whoever matches bytes and not text.

import type { TokenTable } from '../core/grammar.ts';
import type { Tokenizer } from './tokenizer.ts';

/** No text has this byte, so a control token can never be a part of one. */
const controlMark = 0xff;

export function tokenTable(tokenizer: Tokenizer): TokenTable {
  const pieces = Array.from({ length: tokenizer.vocabulary }, (_, token) =>
    tokenizer.isSpecial(token) ? controlPiece(token) : tokenizer.tokenBytes(token),
  );
  let end = 0;
  const ends = Uint32Array.from(pieces, ({ length }) => {
    end += length;
    return end;
  });
  return { bytes: new Uint8Array(Buffer.concat(pieces)), ends, eosTokens: tokenizer.eosTokens };
}

const controlPiece = (token: number) => Buffer.concat([Uint8Array.of(controlMark), Buffer.from(`<${token}>`)]);
