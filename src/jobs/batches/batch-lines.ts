// Reads the lines of a batch's file one by one, and checks all of them before any is answered.

import { createReadStream } from 'node:fs';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { LorikeetError } from '../../core/errors.ts';
import { withFoldedSeeds } from '../../core/folded-seeds.ts';
import { isRecord } from '../../core/is-record.ts';
import { limits } from '../../core/limits.ts';
import { assertPlainJson } from '../../core/plain-json.ts';
import { type NumberedLine, splitLines } from '../../formats/lines.ts';
import type { BatchProblem } from './batches.ts';

export type BatchLine = {
  /** Line of the file, from 1. */
  readonly number: number;
  readonly customId: string;
  readonly body: object;
};

export type CheckedLines = { readonly total: number; readonly problems: readonly BatchProblem[] };

/** Characters and lines between two turns of the event loop: a few milliseconds of either. */
const sliceChars = 64 * 1024;
const sliceLines = 256;
/** Largest number of lines, blank ones included. A file of more has too many requests, or is no file of requests. */
const linesMax = 2 * limits.batchLines;

/** Counts the requests and lists the first problems, with OpenAI's texts and codes. */
export async function checkLines(path: string, endpoint: string): Promise<CheckedLines> {
  const problems: BatchProblem[] = [];
  const ids = new Map<string, number>();
  let total = 0;
  const complain = (line: number | null, code: string, message: string, param: string | null = null) =>
    problems.push({ line, code, message, param });
  try {
    for await (const { number, text } of linesOfFile(path)) {
      if (++total > limits.batchLines) {
        complain(number, 'too_many_tasks', `The file has more than ${limits.batchLines} requests.`);
        break;
      }
      const read = readLine(text, endpoint);
      if ('code' in read) complain(number, read.code, read.message, read.param);
      else {
        const first = ids.get(read.customId);
        if (first === undefined) ids.set(read.customId, number);
        else complain(number, 'duplicate_custom_id', `custom_id is that of line ${first}.`, 'custom_id');
      }
      if (problems.length >= limits.trainingProblems) break;
    }
  } catch (error) {
    if (!(error instanceof LorikeetError)) throw error;
    complain(null, error.code, error.message);
  }
  if (total === 0 && problems.length === 0) complain(null, 'empty_file', 'The file has no requests.');
  return { total, problems };
}

/** Reads the requests of a file that was checked. */
export async function* linesOf(path: string, endpoint: string): AsyncGenerator<BatchLine> {
  for await (const { number, text } of linesOfFile(path)) {
    const read = readLine(text, endpoint);
    if ('code' in read) throw new LorikeetError('file_corrupt');
    yield { number, ...read };
  }
}

/** The lines that are not blank. Other work of the process gets its turn in between. */
async function* linesOfFile(path: string): AsyncGenerator<NumberedLine> {
  let [chars, lines] = [0, 0];
  for await (const line of splitLines(createReadStream(path))) {
    if (line.number > linesMax) {
      throw new LorikeetError('file_invalid', { message: `The file has more than ${linesMax} lines.` });
    }
    chars += line.text.length;
    if (++lines % sliceLines === 0 || chars > sliceChars) {
      await nextTurn();
      chars = 0;
    }
    if (line.text.trim() !== '') yield line;
  }
}

type Refusal = { readonly code: string; readonly message: string; readonly param: string };

const fields = ['custom_id', 'method', 'url', 'body'];

function readLine(text: string, endpoint: string): Omit<BatchLine, 'number'> | Refusal {
  const refuse = (param: string, code: string, message: string): Refusal => ({ param, code, message });
  let line: unknown;
  try {
    assertPlainJson(text, limits);
    line = JSON.parse(withFoldedSeeds(text));
  } catch (error) {
    const why = error instanceof LorikeetError ? error.message : 'This line is not parseable as valid JSON.';
    return refuse('line', 'invalid_json_line', why);
  }
  if (!isRecord(line)) return refuse('line', 'invalid_json_line', 'This line is no JSON object.');
  const other = Object.keys(line).find((name) => !fields.includes(name));
  if (other !== undefined) return refuse(other, 'unknown_parameter', `${other} is not known; there are ${fields}.`);
  const missing = fields.find((name) => line[name] === undefined);
  if (missing !== undefined) return refuse(missing, 'missing_required_parameter', `${missing} is missing.`);
  const { custom_id: customId, method, url, body } = line;
  if (typeof customId !== 'string' || customId === '' || customId.length > limits.customIdChars) {
    return refuse('custom_id', 'invalid_custom_id', `custom_id must have 1 to ${limits.customIdChars} characters.`);
  }
  if (method !== 'POST') return refuse('method', 'invalid_method', 'method must be POST.');
  if (url !== endpoint) return refuse('url', 'invalid_url', `url must be the batch's endpoint, ${endpoint}.`);
  if (!isRecord(body)) return refuse('body', 'invalid_request', 'body must be an object.');
  if (body.stream === true) return refuse('body.stream', 'invalid_request', 'Answers of a batch are no streams.');
  return { customId, body };
}
