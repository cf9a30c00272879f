// Ends a batch: writes its answers to files, marks it as over, then deletes the answers' rows. Repeated after a crash,
// it makes the same files under the same ids.

import { LorikeetError } from '../../core/errors.ts';
import { limits } from '../../core/limits.ts';
import { pagesOfQuery } from '../../storage/pages.ts';
import type { BatchRow } from '../../storage/tables.ts';
import { publishFile } from '../files.ts';
import type { FilePurpose } from '../training-files.ts';
import { linesOf } from './batch-lines.ts';
import { type BatchParts, timesWith } from './batch-parts.ts';
import type { BatchState } from './batches.ts';

/** Answers that are read at once. */
const page = 100;

/** Does nothing to a batch that has both time and unanswered lines left. */
export async function finishBatch(parts: BatchParts, given: BatchRow): Promise<void> {
  const { batches, exclusive, clock } = parts;
  let row = given;
  if (row.state === 'in_progress') {
    const isWhole = row.completed + row.failed >= row.total;
    if (!isWhole && row.expires_at > clock.now()) return;
    const change = { state: 'finalizing', times: timesWith(row.times, 'finalizing', clock.now()) };
    await exclusive(() => batches.change(row.id, ['in_progress'], change));
    row = (await batches.get(row.id)) ?? row;
  }
  if (row.state !== 'finalizing' && row.state !== 'cancelling') return;
  const isWhole = row.total > 0 && row.completed + row.failed >= row.total;
  const state: BatchState = row.state === 'cancelling' ? 'cancelled' : isWhole ? 'completed' : 'expired';
  const missing = isWhole ? null : state === 'cancelled' ? cancelledLine : expiredLine;
  const output_file = await fileOf(parts, row, 'output', answersOf(parts, row, false));
  const error_file = await fileOf(parts, row, 'errors', errorsOf(parts, row, missing));
  const change = { state, output_file, error_file, times: timesWith(row.times, state, clock.now()) };
  const isOver = await exclusive(() => batches.change(row.id, [row.state], change));
  if (isOver) await batches.forgetAnswers(row.id);
}

const cancelledLine = { code: 'batch_cancelled', message: 'The batch was cancelled before this request was answered.' };
const expiredLine = {
  code: 'batch_expired',
  message: 'This request could not be executed before the completion window expired.',
};

async function* answersOf({ batches }: BatchParts, { id }: BatchRow, isError: boolean): AsyncGenerator<Uint8Array> {
  const read = (after: number) => batches.answers(id, isError, after, page);
  for await (const rows of pagesOfQuery(0, read, ({ line }) => line)) {
    yield Buffer.from(rows.map(({ body }) => `${body}\n`).join(''));
  }
}

/** The errors, then an entry for every line without an answer. */
async function* errorsOf(parts: BatchParts, row: BatchRow, missing: typeof expiredLine | null) {
  yield* answersOf(parts, row, true);
  // A batch that failed validation has no lines.
  if (missing === null || row.total === 0) return;
  const answered = await parts.batches.answeredLines(row.id);
  for await (const { number, customId } of linesOf(parts.folder.pathOf(row.input_digest), row.endpoint)) {
    if (answered.has(number)) continue;
    const id = `batch_req_${idPart(row)}-${number}`;
    yield Buffer.from(`${JSON.stringify({ id, custom_id: customId, response: null, error: missing })}\n`);
  }
}

const idPart = ({ id }: BatchRow) => id.slice('batch_'.length);

/** Writes the lines to a file. @returns its id; null where there are no lines */
async function fileOf(
  parts: BatchParts,
  row: BatchRow,
  kind: 'output' | 'errors',
  lines: AsyncGenerator<Uint8Array>,
): Promise<string | null> {
  const { folder } = parts;
  let rows = 0;
  async function* counted() {
    for await (const chunk of lines) {
      for (const byte of chunk) if (byte === 0x0a) rows++;
      yield chunk;
    }
  }
  const tooLong = (): never => {
    throw new LorikeetError('body_too_large', { message: `The ${kind} of the batch ${row.id} is too large.` });
  };
  const staged = await folder.stage(counted(), limits.batchOutputBytes, tooLong);
  if (staged.bytes === 0) {
    await folder.discard(staged);
    return null;
  }
  const { tenant } = row;
  const purpose: FilePurpose = 'batch_output';
  const filename = `${row.id}_${kind}.jsonl`;
  const about = { id: `file-${idPart(row)}-${kind}`, tenant, created_by: null, filename, purpose, rows };
  return (await publishFile(parts, staged, about)).id;
}
