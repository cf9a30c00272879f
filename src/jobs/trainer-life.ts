// One trainer process from its start to its end: gets its job, is watched for silence, and is killed where it does not
// end by itself. Knows the trainer's messages; knows no rows and no states.

import type { Timers } from '../core/clock.ts';
import { limits } from '../core/limits.ts';
import type { StartTrainerProcess } from '../protocol/trainer-process.ts';
import type { TrainerEvent, TrainingJob } from '../protocol/training-messages.ts';
import type { JobOutcome } from './job-row.ts';
import type { JobFailure } from './training-jobs.ts';

export type TrainerEnd =
  | { readonly type: 'finished'; readonly outcome: JobOutcome }
  | { readonly type: 'failed'; readonly failure: JobFailure }
  /** It was paused or cancelled. */
  | { readonly type: 'stopped' }
  /** `reason` completes the sentence "The trainer ...". */
  | { readonly type: 'died'; readonly reason: string };

export type TrainerLife = {
  /** Resolves when the process is gone and its memory is free. */
  readonly ended: Promise<TrainerEnd>;
  readonly pid: number | undefined;
  /** Lets it write a checkpoint, and kills it after `ms` milliseconds. */
  pause(ms: number): void;
  cancel(): void;
  /** Milliseconds of processor time that it has used; null: unknown. */
  processorMs(): number | null;
};

type Options = {
  readonly startTrainer: StartTrainerProcess;
  readonly timers: Timers;
  readonly job: TrainingJob;
  onEvent(event: TrainerEvent): void;
};

export function startTrainerLife({ startTrainer, timers, job, onEvent }: Options): TrainerLife {
  const { promise: ended, resolve } = Promise.withResolvers<TrainerEnd>();
  let isStopped = false;
  let isGone = false;
  let said: TrainerEnd | null = null;
  let cancelSilence = () => {};
  let cancelKill: (() => void) | null = null;

  const killAfter = (ms: number) => {
    cancelKill?.();
    cancelKill = timers.after(ms, () => trainer.kill());
  };
  const watch = () => {
    cancelSilence();
    cancelSilence = timers.after(limits.trainerSilentMs, () => {
      said ??= { type: 'died', reason: `was silent for ${limits.trainerSilentMs / 60_000} minutes` };
      trainer.kill();
    });
  };

  const trainer = startTrainer({
    onEvent(event) {
      watch();
      onEvent(event);
      const end = endOf(event);
      if (end === null) return;
      said = end;
      killAfter(limits.trainerStopMs);
    },
    onExit(reason) {
      isGone = true;
      cancelSilence();
      cancelKill?.();
      resolve(said?.type !== 'finished' && isStopped ? { type: 'stopped' } : (said ?? { type: 'died', reason }));
    },
  });
  watch();
  trainer.send({ type: 'start', job });

  const stop = (type: 'pause' | 'cancel', ms: number) => {
    if (isGone) return;
    isStopped = true;
    trainer.send({ type });
    killAfter(ms);
  };
  return {
    ended,
    pid: trainer.pid,
    pause: (ms) => stop('pause', ms),
    cancel: () => stop('cancel', limits.trainerStopMs),
    processorMs: () => trainer.processorMs?.() ?? null,
  };
}

/** The end that the event announces; null where training continues. */
function endOf(event: TrainerEvent): TrainerEnd | null {
  if (event.type === 'finished') {
    const { step, trainedTokens, folder, bestValidLoss, isEarly } = event;
    return { type: 'finished', outcome: { step, trainedTokens, folder, bestValidLoss, isEarly } };
  }
  if (event.type === 'failed') {
    return { type: 'failed', failure: { code: event.code, message: event.message, param: null } };
  }
  return event.type === 'paused' ? { type: 'stopped' } : null;
}
