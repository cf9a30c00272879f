// What `lorikeet serve` prints while it starts: a bar on a terminal, plain lines in a log, or JSON.

import type { Writable } from 'node:stream';
import type { Clock } from '../core/clock.ts';
import type { StartReport } from '../main/start-report.ts';
import { progressBar } from './progress-bar.ts';

export function startReport(out: Writable & { isTTY?: boolean }, clock: Clock): StartReport {
  const bar = progressBar(out, clock);
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

/** Reports each event as a line of JSON, for programs that start the server; progress of downloads is left out. */
export function jsonReport(out: Writable): StartReport {
  const print = (event: string, fields: object) => void out.write(`${JSON.stringify({ event, ...fields })}\n`);
  return {
    done: (phase, detail, ms) => print('phase', { phase, detail, ms: Math.round(ms) }),
    progress() {},
    line: (text) => print('line', { text }),
    ready: (url, isOpen, ms) => print('ready', { url, open: isOpen, ms: Math.round(ms) }),
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
      '`npx lorikeet keys create` makes a key and closes it.',
    );
  }
  lines.push(`All routes: ${url}/docs. Ctrl-C stops it.`);
  return lines.join('\n');
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
