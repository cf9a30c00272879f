// Checks while a file arrives whether every line can be trained on. Holds one line in memory, never the file.

import { limits } from '../core/limits.ts';
import { isBlank, parseTrainingRow } from '../formats/training-rows.ts';

export type CheckedRows = {
  readonly rows: number;
  /** The first problems, as sentences. */
  readonly problems: readonly string[];
  readonly problemCount: number;
};

const newline = 0x0a;
/** A line of more bytes has too many characters in any UTF-8 text. */
const lineBytesMax = 4 * limits.trainingRowChars;

/** Largest number of lines. Blank lines count, although they are not rows. */
const linesMax = 2 * limits.trainingRows;

const isWhite = (bytes: Uint8Array) => bytes.every((byte) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d));

export class RowCheck {
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #lines = 0;
  #rows = 0;
  readonly #problems: string[] = [];
  #problemCount = 0;

  push(chunk: Uint8Array): void {
    if (this.isHopeless) return;
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      this.#add(chunk.subarray(start, end));
      this.#endLine();
      start = end + 1;
      if (this.isHopeless) return;
    }
    this.#add(chunk.subarray(start));
  }

  /** Whether the rest of the file is skipped: there are as many problems as are reported, or too many lines. */
  get isHopeless(): boolean {
    return this.#problemCount >= limits.trainingProblems || this.#lines > linesMax;
  }

  end(): CheckedRows {
    if (this.#bytes > 0 && !this.isHopeless) this.#endLine();
    if (this.#lines === 0) this.#complain('The file has no lines.');
    else if (this.#rows === 0 && this.#problemCount === 0) this.#complain('The file has blank lines only.');
    return { rows: this.#rows, problems: this.#problems, problemCount: this.#problemCount };
  }

  /** Adds bytes to the line. Of a line that is too long only the length is kept. */
  #add(part: Uint8Array): void {
    if (part.length === 0) return;
    this.#bytes += part.length;
    // The bytes are copied: the sender uses its chunk again.
    if (this.#bytes <= lineBytesMax) this.#parts.push(Uint8Array.from(part));
    else this.#parts = [];
  }

  #endLine(): void {
    this.#lines++;
    if (this.#lines > linesMax) this.#complain(`The file has more than ${linesMax} lines.`);
    // Blank lines are not decoded: millions of them would block the event loop.
    if (this.#bytes <= lineBytesMax && this.#parts.every(isWhite)) {
      this.#parts = [];
      this.#bytes = 0;
      return;
    }
    const text = this.#bytes > lineBytesMax ? '' : textOf(Buffer.concat(this.#parts), this.#lines);
    const isRow = this.#bytes > lineBytesMax || text === null || !isBlank(text);
    if (isRow) this.#rows++;
    const problem = isRow ? this.#problemOf(text) : null;
    if (problem !== null) this.#complain(`Line ${this.#lines} ${problem}.`);
    this.#parts = [];
    this.#bytes = 0;
  }

  /** @param text the line; null where it is not UTF-8 */
  #problemOf(text: string | null): string | null {
    if (this.#rows > limits.trainingRows) return `is beyond the limit of ${limits.trainingRows} rows`;
    if (this.#bytes > lineBytesMax) return `is longer than ${limits.trainingRowChars} characters`;
    if (text === null) return 'is not UTF-8';
    const row = parseTrainingRow(text);
    return 'problem' in row ? row.problem : null;
  }

  #complain(sentence: string): void {
    this.#problemCount++;
    if (this.#problems.length < limits.trainingProblems) this.#problems.push(sentence);
  }
}

/** The first line's decoder skips a byte order mark, as the trainer does; in other lines it is a wrong character. */
const firstDecoder = new TextDecoder('utf-8', { fatal: true });
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function textOf(bytes: Uint8Array, line: number): string | null {
  try {
    return (line > 1 ? decoder : firstDecoder).decode(bytes);
  } catch {
    return null;
  }
}
