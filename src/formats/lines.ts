// Bytes in pieces -> lines of UTF-8 text. Only a newline ends a line (a carriage return before it goes too): JSON may
// hold U+2028 and U+2029 as they are, which readers of terminals take for ends of lines.

import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';

export type NumberedLine = { readonly number: number; readonly text: string };

/**
 * Lines from 1, without their ends and without a byte order mark before the first; nothing follows the last newline.
 * Throws `file_invalid`.
 */
export async function* splitLines(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<NumberedLine> {
  /** The beginning of a line whose end has not come. */
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
/** What the row's own limit can take in UTF-8, so that a file without newlines is not collected whole. */
const bytesMax = 4 * limits.trainingRowChars;

/** A byte order mark begins a file; in front of another line it is a wrong character. */
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
