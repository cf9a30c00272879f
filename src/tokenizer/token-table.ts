// Makes the table of the bytes of all tokens, for code that matches bytes and not text.

import type { TokenTable } from '../core/grammar.ts';
import type { Tokenizer } from './tokenizer.ts';

/** First byte of control tokens. No UTF-8 text has this byte, so a control token is never a part of one. */
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
