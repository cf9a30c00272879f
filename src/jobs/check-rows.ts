// Whether every line of a file can be trained on, found out while it arrives: holds one line, never the file.

import { limits } from '../core/limits.ts';
import { parseTrainingRow } from '../formats/training-rows.ts';

export type CheckedRows = {
  readonly rows: number;
  /** The first of them, as sentences. */
  readonly problems: readonly string[];
  readonly problemCount: number;
};

const newline = 0x0a;
/** No line of this many bytes has few enough characters. */
const lineBytesMax = 4 * limits.trainingRowChars;

export class RowCheck {
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #lines = 0;
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

  /** As many problems as are told: the rest of the file is not looked at. */
  get isHopeless(): boolean {
    return this.#problemCount >= limits.trainingProblems;
  }

  end(): CheckedRows {
    if (this.#bytes > 0 && !this.isHopeless) this.#endLine();
    if (this.#lines === 0) this.#complain('The file has no lines.');
    return { rows: this.#lines, problems: this.#problems, problemCount: this.#problemCount };
  }

  /** Of a line that is too long only the length is kept. */
  #add(part: Uint8Array): void {
    if (part.length === 0) return;
    this.#bytes += part.length;
    // A copy: the sender's chunk is used again.
    if (this.#bytes <= lineBytesMax) this.#parts.push(Uint8Array.from(part));
    else this.#parts = [];
  }

  #endLine(): void {
    this.#lines++;
    const problem = this.#problemOf();
    if (problem !== null) this.#complain(`Line ${this.#lines} ${problem}.`);
    this.#parts = [];
    this.#bytes = 0;
  }

  #problemOf(): string | null {
    if (this.#lines > limits.trainingRows) return `is beyond the limit of ${limits.trainingRows} lines`;
    if (this.#bytes > lineBytesMax) return `is longer than ${limits.trainingRowChars} characters`;
    const text = textOf(this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts));
    if (text === null) return 'is not UTF-8';
    const row = parseTrainingRow(text);
    return 'problem' in row ? row.problem : null;
  }

  #complain(sentence: string): void {
    this.#problemCount++;
    if (this.#problems.length < limits.trainingProblems) this.#problems.push(sentence);
  }
}

/** A byte order mark is kept, so that the parser refuses it: the trainer would read it as part of the row. */
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function textOf(bytes: Uint8Array): string | null {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}
