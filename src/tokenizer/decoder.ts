// Decodes tokens to bytes. Every decoder of the supported families is a table from token to bytes, and perhaps one
// space to drop at the very start (SentencePiece writes one there). Bytes become text only after they are joined.

import { fromByteCharacters } from './byte-alphabet.ts';
import { unsupported } from './refuse.ts';
import type { DecoderPart } from './tokenizer-schema.ts';

export type Decoder = {
  bytes(token: number): Uint8Array;
  readonly dropsFirstSpace: boolean;
};

const nothing = new Uint8Array(0);

/** Makes a decoder. `spellings` are by token id; in byte-level vocabularies `added` tokens are spelt as plain text. */
export function createDecoder(
  parts: readonly DecoderPart[],
  spellings: readonly (string | undefined)[],
  added: ReadonlySet<number>,
): Decoder {
  const types = parts.map((part) => part.type);
  const byteLevel = types.join() === 'ByteLevel';
  const stripAt = types.indexOf('Strip');
  if (!byteLevel && (types.includes('ByteLevel') || !types.includes('Fuse'))) {
    throw unsupported(`the decoder "${types.join(', ')}"`);
  }
  if (stripAt >= 0 && stripAt < types.indexOf('Fuse')) throw unsupported('a decoder that strips every token');

  const table: Uint8Array[] = [];
  const toBytes = (token: number, spelling: string) => {
    if (!byteLevel) return pieceBytes(parts, spelling);
    return (added.has(token) ? null : fromByteCharacters(spelling)) ?? Buffer.from(spelling, 'utf8');
  };
  return {
    dropsFirstSpace: stripAt >= 0,
    bytes(token) {
      const spelling = spellings[token];
      // A model may have more rows than its tokeniser has tokens.
      if (spelling === undefined) return nothing;
      table[token] ??= toBytes(token, spelling);
      return table[token];
    },
  };
}

/**
 * Gives the bytes of a token. Python's decoder turns a whole run of byte tokens into U+FFFD where any part of it is
 * invalid. A stream cannot take back what it has sent, so here the valid characters of such a run stay.
 */
function pieceBytes(parts: readonly DecoderPart[], spelling: string): Uint8Array {
  let text = spelling;
  for (const part of parts) {
    const byte = part.type === 'ByteFallback' ? /^<0x([0-9A-Fa-f]{2})>$/.exec(text)?.[1] : undefined;
    if (byte !== undefined) return Uint8Array.of(Number.parseInt(byte, 16));
    if (part.type === 'Replace') text = text.replaceAll(part.pattern.String, () => part.content);
  }
  return Buffer.from(text, 'utf8');
}
