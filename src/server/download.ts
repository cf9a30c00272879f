// Bounds on who takes a download: what is not read is cut off, and so is what takes too long in all. Files and leases
// are held meanwhile.

import type { FastifyReply } from 'fastify';
import type { Limits } from './deps.ts';

export function boundDownload({ raw }: FastifyReply, limits: Pick<Limits, 'downloadIdleMs' | 'downloadMsMax'>): void {
  raw.setTimeout(limits.downloadIdleMs, () => raw.destroy());
  const deadline = setTimeout(() => raw.destroy(), limits.downloadMsMax).unref();
  raw.once('close', () => clearTimeout(deadline));
}
