// A training file as rows of tokens, all in memory: a token and its mark take five bytes, and rows are drawn in any
// order. Does not know whose file it is, or whether it was checked before.

import { createReadStream } from 'node:fs';
import { LorikeetError } from '../core/errors.ts';
import { splitLines } from '../formats/lines.ts';
import { isBlank, parseTrainingRow } from '../formats/training-rows.ts';
import { countTargets, cutRow, type EncodeRow, type TokenRow } from './token-row.ts';

export type Dataset = {
  readonly rows: readonly TokenRow[];
  /** Tokens that the loss counts, in all rows. */
  readonly targets: number;
  /** Rows that were longer than `tokensMax`. */
  readonly cut: number;
  /** Rows without a target, which are not in `rows`: all turns of weight 0, or all cut off. */
  readonly skipped: number;
};

/** Throws `file_invalid` at the first row that cannot be trained on, and where no row has a target. */
export async function readDataset(path: string, encode: EncodeRow, tokensMax: number): Promise<Dataset> {
  const rows: TokenRow[] = [];
  const counts = { targets: 0, cut: 0, skipped: 0 };
  for await (const { number, text } of splitLines(createReadStream(path))) {
    if (isBlank(text)) continue;
    const whole = encodeLine(number, text, encode);
    const row = whole.tokens.length > tokensMax ? cutRow(whole, tokensMax) : whole;
    if (row !== whole) counts.cut++;
    const targets = countTargets(row);
    counts.targets += targets;
    if (targets === 0) counts.skipped++;
    else rows.push(row);
  }
  if (rows.length === 0) {
    const cut = counts.cut > 0 ? `, ${counts.cut} of them cut at ${tokensMax} tokens` : '';
    throw invalid(`The file has no row with anything to learn: ${counts.skipped} without a target${cut}.`);
  }
  return { rows, ...counts };
}

function encodeLine(number: number, text: string, encode: EncodeRow): TokenRow {
  const row = parseTrainingRow(text);
  if ('problem' in row) throw invalid(`Line ${number} ${row.problem}.`);
  try {
    return encode(row);
  } catch (error) {
    if (!(error instanceof LorikeetError)) throw error;
    throw invalid(`Line ${number}: ${error.message}`);
  }
}

const invalid = (message: string) => new LorikeetError('file_invalid', { message });
