// How long a download may take in all: files and leases are held meanwhile. Who does not read is cut off before.

import type { FastifyReply } from 'fastify';
import type { Limits } from '../../core/limits.ts';

export function boundDownload({ raw }: FastifyReply, { downloadMsMax }: Pick<Limits, 'downloadMsMax'>): void {
  const deadline = setTimeout(() => raw.destroy(), downloadMsMax).unref();
  raw.once('close', () => clearTimeout(deadline));
}
