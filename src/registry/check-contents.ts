// Reads contents that no request has asked for, one after another, so that damage is found before a request meets it.
// It pauses four times as long as it reads, and so uses at most a fifth of one core.

import { join } from 'node:path';
import { readText, writeText } from '../storage/text-file.ts';
import type { Parts } from './parts.ts';

const pageSize = 100;

/** File with the digest that the last process read last. */
const markerName = 'checked-to';

/** Reads the contents that were found damaged before, then all others once, starting where the last process ended. */
export async function checkContents(parts: Parts, stop: AbortSignal): Promise<void> {
  const { names, options } = parts;
  const marker = join(options.folder, markerName);
  for await (const rows of names.adapters.allNotReady(pageSize)) {
    for (const { digest, state } of rows) if (state === 'corrupt') await checkOne(parts, digest, stop);
  }
  const start = (await readText(options.files, marker)) ?? '';
  const round = [
    { from: start, to: null },
    { from: '', to: start },
  ];
  for (const { from, to } of round) {
    if (from === to) continue;
    for await (const page of names.adapters.allDigests(from, pageSize)) {
      for (const digest of page) if (to === null || digest <= to) await checkOne(parts, digest, stop);
      const last = page.at(-1)!;
      await writeText(options.files, marker, last);
      if (to !== null && last >= to) break;
    }
  }
}

async function checkOne({ contents, options, stopped }: Parts, digest: string, stop: AbortSignal): Promise<void> {
  const { clock, timers, log } = options;
  stop.throwIfAborted();
  if (contents.isTrusted(digest)) return;
  const began = clock.monotonic();
  await contents.verify(digest, { isAsked: false }).catch((error) => {
    if (!stop.aborted) log.error({ err: error, digest }, 'an adapter could not be read');
  });
  const rest = new Promise<void>((resolve) => timers.after(4 * (clock.monotonic() - began), resolve));
  await Promise.race([rest, stopped]);
}
