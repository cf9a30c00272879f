// What `lorikeet serve` shows while it starts: a bar on a terminal, plain lines in a log.

import type { Writable } from 'node:stream';
import type { Clock } from '../core/clock.ts';
import type { StartReport } from '../main.ts';
import type { ModelProgress } from '../models/progress.ts';

const barWidth = 28;
/** A terminal is redrawn at most this often; a log gets few lines, and none of work that is soon over. */
const redrawMs = 100;
const lineMs = 2000;

export function startReport(out: Writable & { isTTY?: boolean }, clock: Clock): StartReport {
  const bar = out.isTTY === true ? drawnBar(out, clock) : printedBar(out, clock);
  const print = (text: string) => {
    bar.clear();
    out.write(`${text}\n`);
  };
  return {
    done: (phase, detail, ms) => print(`${phase.padEnd(10)} ${seconds(ms).padStart(7)}  ${detail}`),
    progress: (progress) => bar.show(progress),
    line: (text) => print(`${' '.repeat(20)}${text}`),
    ready: (url, isOpen, ms) => print(readyText(url, isOpen, ms)),
  };
}

function readyText(url: string, isOpen: boolean, ms: number): string {
  const key = isOpen ? '' : ` -H "authorization: Bearer $LORIKEET_API_KEY"`;
  const lines = [
    `\nLorikeet is ready at ${url} after ${seconds(ms)}. Try it:\n`,
    `  curl ${url}/v1/generate -H 'content-type: application/json'${key} \\`,
    `    -d '{"prompt":"The capital of France is","max_tokens":8,"temperature":0}'\n`,
  ];
  if (isOpen) {
    lines.push(
      'No API key exists: it listens on loopback only, and every caller is the tenant `default` with every scope.',
      '`npm run lorikeet -- keys create` makes a key and closes it.',
    );
  }
  lines.push(`All routes: ${url}/docs. Ctrl-C stops it.`);
  return lines.join('\n');
}

type Bar = { show(progress: ModelProgress): void; clear(): void };

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

function describe({ phase, item, receivedBytes, totalBytes }: ModelProgress, ms: number): string {
  const rate = phase === 'download' && ms > 1000 ? `  ${megabytes((receivedBytes * 1000) / ms)}/s` : '';
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

const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
