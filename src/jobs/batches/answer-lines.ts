// Answers the lines of one batch, a few at a time. A line that is refused for the moment is asked again later and holds
// no place meanwhile, so that a tenant whose requests are refused for hours keeps no other's batch waiting. Any other
// answer is stored, and the line is done.

import { errorTable } from '../../core/errors.ts';
import type { WaitingPlaces } from '../../core/waiting-places.ts';
import type { BatchRow } from '../../storage/tables.ts';
import { type BatchLine, linesOf } from './batch-lines.ts';
import type { BatchParts } from './batch-parts.ts';
import type { AnswerLine, LineAnswer } from './batches.ts';

export type LineWork = {
  readonly answer: AnswerLine;
  /** Places for lines under way, shared by all batches. */
  readonly places: WaitingPlaces;
  /** Aborted when the batch is cancelled or has expired, or when the server ends. */
  readonly signal: AbortSignal;
};

/** Engine deaths during the tries of a line, after which it is not asked again. */
const engineDeathsMax = 3;

/** Resolves when every line has its answer, or when the signal is aborted and no line is under way. */
export async function answerLines(parts: BatchParts, row: BatchRow, work: LineWork): Promise<void> {
  const { batches, folder } = parts;
  const { places, signal } = work;
  const answered = await batches.answeredLines(row.id);
  const underWay = new Set<Promise<void>>();
  let failure: unknown = null;
  for await (const line of linesOf(folder.pathOf(row.input_digest), row.endpoint)) {
    if (answered.has(line.number)) continue;
    while (underWay.size >= Math.max(1, places.most)) await Promise.race(underWay);
    if (signal.aborted || failure !== null) break;
    const task: Promise<void> = answerLine(parts, row, line, work)
      .catch((error) => {
        failure ??= error;
      })
      .finally(() => underWay.delete(task));
    underWay.add(task);
  }
  await Promise.all(underWay);
  if (failure !== null) throw failure;
}

async function answerLine(parts: BatchParts, row: BatchRow, line: BatchLine, work: LineWork): Promise<void> {
  const { batches, options, newId } = parts;
  const { signal } = work;
  for (let deaths = 0; !signal.aborted; ) {
    const said = await askOnce(row, line, work);
    if (said === null) return;
    if (isEngineDeath(said)) deaths++;
    if (said.retryAfterSeconds !== null && deaths < engineDeathsMax) {
      await pause(options.timers, said.retryAfterSeconds * 1000, signal);
      continue;
    }
    const body = lineJson(`batch_req_${newId()}`, line.customId, said);
    await batches.answer({ batch: row.id, line: line.number, is_error: said.status === 200 ? 0 : 1, body });
    return;
  }
}

/**
 * Asks once. Holds a place only during the request, not between two tries. @returns null where the signal was aborted
 */
async function askOnce(row: BatchRow, { body }: BatchLine, work: LineWork): Promise<LineAnswer | null> {
  const { places, signal } = work;
  const { tenant, created_by: keyPrefix, endpoint } = row;
  const giveBack = await places.take();
  try {
    return signal.aborted ? null : await work.answer({ tenant, keyPrefix, endpoint, body, signal });
  } catch (error) {
    if (signal.aborted) return null;
    throw error;
  } finally {
    giveBack();
  }
}

function isEngineDeath({ status, body }: LineAnswer): boolean {
  const { error } = (body ?? {}) as { error?: { code?: unknown } };
  return status === errorTable.engine_failed.status && error?.code === 'engine_failed';
}

const lineJson = (id: string, customId: string, { status, requestId, body }: LineAnswer): string =>
  JSON.stringify({
    ...{ id, custom_id: customId },
    response: { status_code: status, request_id: requestId, body },
    error: null,
  });

async function pause(timers: BatchParts['options']['timers'], ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const end = () => {
      cancel();
      signal.removeEventListener('abort', end);
      resolve();
    };
    const cancel = timers.after(ms, end);
    signal.addEventListener('abort', end, { once: true });
  });
}
