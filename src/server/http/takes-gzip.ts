// Tells whether a request accepts gzip.

import type { IncomingHttpHeaders } from 'node:http';

export const takesGzip = (headers: IncomingHttpHeaders): boolean =>
  /\bgzip\b/.test(String(headers['accept-encoding'] ?? ''));
