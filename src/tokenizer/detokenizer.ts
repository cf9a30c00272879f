// Decodes tokens to text as they come. A token may end inside a UTF-8 character, whose bytes then wait for the next
// token. Invariant: waiting bytes start with a lead byte, where any decoder starts anew, so that the pieces join to the
// whole text.

import type { Decoder } from './decoder.ts';
import type { Detokenizer } from './tokenizer.ts';

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
const nothing = new Uint8Array(0);

export function createDetokenizer(decoder: Decoder, skips: (token: number) => boolean): Detokenizer {
  let waiting: Uint8Array = nothing;
  let atStart = decoder.dropsFirstSpace;

  function emit(bytes: Uint8Array): string {
    if (bytes.length === 0) return '';
    const text = utf8.decode(bytes);
    const dropped = atStart && text.startsWith(' ') ? text.slice(1) : text;
    atStart = false;
    return dropped;
  }

  return {
    push(token) {
      if (skips(token)) return '';
      const bytes = waiting.length === 0 ? decoder.bytes(token) : Buffer.concat([waiting, decoder.bytes(token)]);
      const complete = completeLength(bytes);
      waiting = bytes.subarray(complete);
      return emit(bytes.subarray(0, complete));
    },
    flush() {
      const text = emit(waiting);
      waiting = nothing;
      return text;
    },
  };
}

export function decodeWhole(decoder: Decoder, tokens: readonly number[]): string {
  const text = utf8.decode(Buffer.concat(tokens.map((token) => decoder.bytes(token))));
  return decoder.dropsFirstSpace && text.startsWith(' ') ? text.slice(1) : text;
}

/** Counts the bytes before a character that may be unfinished, which has at most the last three bytes. */
function completeLength(bytes: Uint8Array): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back]!;
    if (byte < 0x80) break;
    if (byte < 0xc0) continue;
    const characterBytes = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return back < characterBytes ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}
