// Maps errors of PostgreSQL, and of the connection to it, to the project's error codes.

import { type ErrorCode, LorikeetError } from '../../core/errors.ts';

/** Error codes by SQLSTATE: whole, or its first three or two characters. */
const codes: Readonly<Record<string, ErrorCode>> = {
  // Serialisation failure, deadlock, lock timeout, too many connections: a later try may succeed.
  '40001': 'storage_busy',
  '40P01': 'storage_busy',
  '55P03': 'storage_busy',
  '53300': 'storage_busy',
  '53100': 'storage_full',
  // Broken connections, a server that stops or starts, one that became a standby, a transaction that was ended.
  '08': 'storage_unavailable',
  '57P': 'storage_unavailable',
  '25006': 'storage_unavailable',
  '25P03': 'storage_unavailable',
  XX: 'database_invalid',
};

/** Error codes of a socket that has lost its server. */
const lostCodes = [
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENOENT',
];
/** Messages of the client where the error has no code. */
const lostMessages = /^(Connection terminated|Query read timeout|timeout exceeded when trying to connect|Client has )/;

/** null where the statement itself is at fault. */
export function postgresError(error: unknown): LorikeetError | null {
  if (error instanceof LorikeetError) return error;
  const { code = '', message = '' } = (error ?? {}) as { code?: string; message?: string };
  const known = codes[code] ?? codes[code.slice(0, 3)] ?? codes[code.slice(0, 2)];
  if (known !== undefined) return new LorikeetError(known, { cause: error });
  const isLost = lostCodes.includes(code) || lostMessages.test(message);
  return isLost ? new LorikeetError('storage_unavailable', { cause: error }) : null;
}

/** Whether PostgreSQL refuses this user or has no such database: the URL is wrong, and waiting does not help. */
export function isRefusedLogin(error: unknown): boolean {
  const { code = '' } = (error ?? {}) as { code?: string };
  return code.startsWith('28') || code === '3D000';
}
