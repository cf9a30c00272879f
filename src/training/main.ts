// The trainer's process: one job, then it ends and its memory is free. Commands come in between micro-batches; whatever
// ends it in between is made good by the next process from the last checkpoint.

import { systemClock, systemTimers } from '../core/clock.ts';
import { trainerChannel } from '../protocol/trainer-process.ts';
import type { TrainingJob } from '../protocol/training-messages.ts';
import { createPace } from './pace.ts';
import { Paused, runJob } from './run-job.ts';

const channel = trainerChannel();
const pace = createPace(systemTimers);
let isPausing = false;

channel.onCommand((command) => {
  if (command.type === 'start') train(command.job);
  else if (command.type === 'budget') pace.setShare(command.share);
  else if (command.type === 'cancel') process.exit(0);
  else {
    isPausing = true;
    pace.wake();
  }
});

async function train(job: TrainingJob): Promise<void> {
  const end = await runJob(job, {
    clock: systemClock,
    emit: (event) => channel.send(event),
    async rest(workMs) {
      if (!isPausing) await pace.rest(workMs);
      if (isPausing) throw new Paused();
    },
  });
  channel.send(end);
  // Long enough for the message to leave the pipe.
  setTimeout(() => process.exit(end.type === 'failed' ? 1 : 0), 100);
}
