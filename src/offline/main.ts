// Main file of the process for one piece of work on weights: takes it, answers, ends. Every failure is reported to the
// server.

import { once } from 'node:events';
import { LorikeetError } from '../core/errors.ts';
import type { OfflineWork } from '../protocol/offline-messages.ts';
import { offlineChannel } from '../protocol/offline-process.ts';
import { analyseAdapter } from './analyse-adapter.ts';
import { exportGguf } from './export-gguf.ts';
import { exportSafetensors } from './export-safetensors.ts';

const channel = offlineChannel();
// The reader has left, so that the process ends; this is no error worth a report.
process.stdout.on('error', () => process.exit(1));

try {
  await answer(await channel.work);
} catch (error) {
  const { code, message, param } = toLorikeetError(error);
  await channel.send({ type: 'failed', code, message, param });
  process.exitCode = 1;
}
channel.close();

async function answer(work: OfflineWork): Promise<void> {
  if (work.kind === 'analysis') {
    return await channel.send({ type: 'analysis', analysis: await analyseAdapter(work) });
  }
  const exported = work.format === 'gguf' ? exportGguf(work) : await exportSafetensors(work);
  await channel.send({ type: 'bytes', bytes: exported.bytes });
  for await (const chunk of exported.chunks()) {
    if (!process.stdout.write(chunk)) await once(process.stdout, 'drain');
  }
}

function toLorikeetError(error: unknown): LorikeetError {
  if (error instanceof LorikeetError) return error;
  console.error(error);
  return new LorikeetError('offline_failed', { cause: error });
}
