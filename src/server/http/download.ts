// Bounds the time of a download, which holds files and leases. A reader who takes nothing is cut off sooner, elsewhere.

import type { FastifyReply } from 'fastify';
import type { Limits } from '../../core/limits.ts';
import { onClose } from './on-close.ts';

export function boundDownload({ raw }: FastifyReply, { downloadMsMax }: Pick<Limits, 'downloadMsMax'>): void {
  const deadline = setTimeout(() => raw.destroy(), downloadMsMax).unref();
  onClose(raw, () => clearTimeout(deadline));
}
