// Makes the log: a line of JSON for each entry, or a sentence in a terminal. Secrets that reach it are masked.

import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';

export type { Logger };

type Terminal = DestinationStream & { readonly isTTY?: boolean };

/** @param destination where lines go; a terminal gets sentences */
export function createLogger(level: string, destination: Terminal = process.stdout): Logger {
  const secrets = ['authorization', 'cookie', '["x-api-key"]', 'key', 'adminKey', 'secret'];
  const options: LoggerOptions = {
    level,
    base: null,
    redact: secrets.flatMap((path) => [path, path.startsWith('[') ? `*${path}` : `*.${path}`]),
  };
  return pino(
    options,
    destination.isTTY ? { write: (line) => void destination.write(sentence(line)) } : lines(destination),
  );
}

/** Writes to the file descriptor itself, which is faster than a stream. */
const lines = (destination: Terminal) =>
  destination === process.stdout ? pino.destination({ fd: 1, sync: true }) : destination;

function sentence(line: string): string {
  const { level, time, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const name = pino.levels.labels[Number(level)] ?? '';
  const at = new Date(Number(time)).toISOString().slice(11, 19);
  const rest = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  const stack = typeof err === 'object' && err !== null && 'stack' in err ? `\n${String(err.stack)}` : '';
  return `${at} ${name === 'info' ? '' : `${name}: `}${[msg, ...rest].join(' ')}${stack}\n`;
}
