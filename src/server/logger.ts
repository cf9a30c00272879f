// The log: one JSON object a line. Secrets are masked should one ever be passed to it.

import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';

/** @param destination standard output where none is given. */
export function createLogger(level: string, destination?: DestinationStream): Logger {
  const secrets = ['authorization', 'cookie', '["x-api-key"]', 'key', 'adminKey', 'secret'];
  const options: LoggerOptions = {
    level,
    base: null,
    redact: secrets.flatMap((path) => [path, path.startsWith('[') ? `*${path}` : `*.${path}`]),
  };
  return destination === undefined ? pino(options) : pino(options, destination);
}
