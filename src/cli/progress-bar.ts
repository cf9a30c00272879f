// Shows a transfer's progress: a bar on a terminal, a few plain lines in a log.

import type { Writable } from 'node:stream';
import type { Clock } from '../core/clock.ts';

export type Progress = {
  /** Kind of work; the rate is shown for those that end in `load`. */
  readonly phase: string;
  readonly item: string;
  readonly receivedBytes: number;
  readonly totalBytes: number | null;
};

export type Bar = { show(progress: Progress): void; clear(): void };

const barWidth = 28;
/** Shortest time between two redraws, and between two lines of a log. Work that ends sooner than that gets no line. */
const redrawMs = 100;
const lineMs = 2000;

export const progressBar = (out: Writable & { isTTY?: boolean }, clock: Clock): Bar =>
  out.isTTY === true ? drawnBar(out, clock) : printedBar(out, clock);

function drawnBar(out: Writable, clock: Clock): Bar {
  let drawnAt = Number.NEGATIVE_INFINITY;
  let since = 0;
  let current = '';
  return {
    show(progress) {
      const now = clock.monotonic();
      const work = `${progress.phase} ${progress.item}`;
      if (work !== current) since = now;
      const isDue = work !== current || now - drawnAt >= redrawMs || progress.receivedBytes === progress.totalBytes;
      if (!isDue) return;
      current = work;
      drawnAt = now;
      out.write(`\r\x1b[K${describe(progress, now - since)}`);
    },
    clear() {
      if (current !== '') out.write('\r\x1b[K');
      current = '';
    },
  };
}

function describe({ phase, item, receivedBytes, totalBytes }: Progress, ms: number): string {
  const rate = phase.endsWith('load') && ms > 1000 ? `  ${megabytes((receivedBytes * 1000) / ms)}/s` : '';
  if (totalBytes === null) return `  ${phase} ${item}  ${megabytes(receivedBytes)}${rate}`;
  const share = Math.min(receivedBytes / Math.max(totalBytes, 1), 1);
  const filled = '='.repeat(Math.round(share * barWidth)).padEnd(barWidth);
  const percent = `${Math.floor(share * 100)} %`.padStart(5);
  return `  ${phase} ${item}  [${filled}] ${percent} of ${megabytes(totalBytes)}${rate}`;
}

function printedBar(out: Writable, clock: Clock): Bar {
  let printedAt = 0;
  let current = '';
  return {
    show(progress) {
      const now = clock.monotonic();
      const work = `${progress.phase} ${progress.item}`;
      if (work !== current) printedAt = now;
      current = work;
      if (now - printedAt < lineMs) return;
      printedAt = now;
      const { receivedBytes, totalBytes } = progress;
      const share = totalBytes === null ? '' : ` of ${megabytes(totalBytes)}`;
      out.write(`${' '.repeat(20)}${work}: ${megabytes(receivedBytes)}${share}\n`);
    },
    clear() {},
  };
}

export const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
