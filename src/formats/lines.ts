// Splits a stream of bytes into lines of UTF-8 text. Only a newline ends a line, with an optional carriage return
// before it: JSON may contain U+2028 and U+2029 unescaped, which line readers for terminals take for ends of lines.

import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';

export type NumberedLine = { readonly number: number; readonly text: string };

/**
 * Yields lines, numbered from 1, without their ends and without a byte order mark at the start of the file. Nothing is
 * yielded after a final newline. Throws `file_invalid`.
 */
export async function* splitLines(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<NumberedLine> {
  /** Pieces of a line whose end has not arrived. */
  let open: Uint8Array[] = [];
  let openBytes = 0;
  let number = 0;
  for await (const piece of pieces) {
    let start = 0;
    for (let end = piece.indexOf(newline); end !== -1; end = piece.indexOf(newline, start)) {
      open.push(piece.subarray(start, end));
      yield decodeLine(++number, Buffer.concat(open));
      open = [];
      openBytes = 0;
      start = end + 1;
    }
    if (start === piece.length) continue;
    open.push(piece.subarray(start));
    openBytes += piece.length - start;
    if (openBytes > bytesMax) throw new LorikeetError('file_invalid', { message: `Line ${number + 1} is too long.` });
  }
  if (open.length > 0) yield decodeLine(++number, Buffer.concat(open));
}

const newline = 0x0a;
/** Bytes that a row of the longest length can take in UTF-8, so that a file without newlines is not collected whole. */
const bytesMax = 4 * limits.trainingRowChars;

/** Only the first line may begin with a byte order mark; in front of any other line it is a wrong character. */
const firstDecoder = new TextDecoder('utf-8', { fatal: true });
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decodeLine(number: number, bytes: Uint8Array): NumberedLine {
  const isReturned = bytes.at(-1) === 0x0d;
  try {
    const own = isReturned ? bytes.subarray(0, -1) : bytes;
    return { number, text: (number > 1 ? decoder : firstDecoder).decode(own) };
  } catch {
    throw new LorikeetError('file_invalid', { message: `Line ${number} is not UTF-8.` });
  }
}
