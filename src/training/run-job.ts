// Runs a job from its start to its last event. Every end leaves the checkpoints in place, so that the job can be
// examined and continued.

import { join } from 'node:path';
import { isDiskFull } from '../core/disk-full.ts';
import { LorikeetError } from '../core/errors.ts';
import type { TrainerEvent, TrainingJob } from '../protocol/training-messages.ts';
import { type Prepared, prepare, type Surroundings } from './prepare.ts';
import { removeUnfinished, writeFolder } from './write-folder.ts';

/** The error with which `between` rejects to pause the job. */
export class Paused extends Error {}

/** Never rejects. The returned event is the job's last and has not been emitted. */
export async function runJob(job: TrainingJob, around: Surroundings): Promise<TrainerEvent> {
  let step = 0;
  try {
    const prepared = await prepare(job, around);
    const { trainer } = prepared;
    try {
      await trainer.run();
      return await finish(job, prepared, around);
    } catch (error) {
      step = trainer.progress.step;
      if (!(error instanceof Paused)) throw error;
      await trainer.save();
      return { type: 'paused', step };
    } finally {
      await prepared.release();
    }
  } catch (error) {
    return { type: 'failed', step, ...failureOf(error) };
  }
}

/** Writes the result: the best checkpoint where there was a validation, as OpenAI does; otherwise the last values. */
async function finish(job: TrainingJob, prepared: Prepared, { write }: Surroundings): Promise<TrainerEvent> {
  const { trainer, checkpoints, adapter } = prepared;
  const { step, trainedTokens, best } = trainer.progress;
  const chosen = best === null || best.step === step ? adapter() : (await checkpoints.load(best.step))?.adapter;
  if (chosen === undefined) {
    const message = `The checkpoint of step ${best?.step}, the best one, is damaged.`;
    throw new LorikeetError('training_failed', { message });
  }
  const folder = join(job.folder, 'result');
  await removeUnfinished(job.folder);
  const files = { 'adapter_config.json': chosen.config, 'adapter_model.safetensors': chosen.weights };
  await writeFolder(folder, files, write);
  const bestValidLoss = best?.validLoss ?? null;
  return { type: 'finished', step, trainedTokens, folder, bestValidLoss, isEarly: trainer.isEarly };
}

function failureOf(error: unknown): { code: LorikeetError['code']; message: string } {
  const known = isDiskFull(error) ? new LorikeetError('storage_full') : error;
  if (known instanceof LorikeetError) return { code: known.code, message: known.message };
  console.error(error);
  return { code: 'training_failed', message: `The training job failed: ${(error as Error).message}` };
}
