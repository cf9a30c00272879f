// Waits with limits of their own: a test that waits in vain then says for what, long before the runner ends it without
// a message.

import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Milliseconds: long even for a machine that pauses now and then, and less than half of the runner's limit for a test.
 */
export const waitMsMax = 240_000;

/** What is waited for. A function is called at the end, and may say how far things came. */
export type Wanted = string | (() => string);

/** Rejects after `ms` milliseconds; the work itself continues. */
export async function within<T>(what: Wanted, work: Promise<T>, ms = waitMsMax): Promise<T> {
  // Made before the timer, so that its stack names the caller.
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

/** Checks repeatedly until the condition holds. */
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

/**
 * Checks every millisecond until the condition holds. The message of a wait in vain gives the condition's source, so
 * the condition should read as what is waited for; `waitFor` takes a message of its own.
 */
export const until = (condition: () => boolean): Promise<void> => waitFor(String(condition), condition, { everyMs: 1 });
