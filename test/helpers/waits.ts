// Waits with a limit of their own: a test that waits for what never comes says what it was, long before the runner ends
// it without a word.

import { setTimeout as sleep } from 'node:timers/promises';

/** Long for a machine that stands still now and then, and less than half of what the runner gives a test. */
export const waitMsMax = 240_000;

/** What was waited for; asked for at the end, it may say how far things had come. */
export type Wanted = string | (() => string);

/** Rejects where it takes too long; the work itself goes on. */
export async function within<T>(what: Wanted, work: Promise<T>, ms = waitMsMax): Promise<T> {
  // Made here, it knows who waits.
  const error = new Error();
  const { promise: tooLong, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    error.message = `Waited in vain for ${ms / 1000} s: ${typeof what === 'string' ? what : what()}`;
    reject(error);
  }, ms);
  try {
    return await Promise.race([work, tooLong]);
  } finally {
    clearTimeout(timer);
  }
}

/** Asks again and again until it is so. */
export async function waitFor(
  what: Wanted,
  isSo: () => boolean | Promise<boolean>,
  { everyMs = 20, ms = waitMsMax }: { readonly everyMs?: number; readonly ms?: number } = {},
): Promise<void> {
  let isOver = false;
  const asking = async () => {
    while (!isOver && !(await isSo())) await sleep(everyMs);
  };
  try {
    await within(what, asking(), ms);
  } finally {
    isOver = true;
  }
}
