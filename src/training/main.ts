// The trainer's process: runs one job, then ends and frees its memory. On the processor it computes while cores idle,
// or at a low priority. Commands are taken between micro-batches. If the process is ended, the next one goes on from
// the last checkpoint.

import { systemClock } from '../core/clock.ts';
import { channelToParent } from '../protocol/child-process.ts';
import type { TrainerCommand, TrainerEvent, TrainingJob } from '../protocol/training-messages.ts';
import { runLow, runWhenIdle } from '../runtime/idle-class.ts';
import { Paused, runJob } from './run-job.ts';

const channel = channelToParent<TrainerCommand, TrainerEvent>('trainer');
let isPausing = false;

channel.onCommand((command) => {
  if (command.type === 'start') train(command.job);
  else if (command.type === 'cancel') process.exit(0);
  else isPausing = true;
});

async function train(job: TrainingJob): Promise<void> {
  // A job on a device keeps the low priority with which its process was started: it takes little of a core, and the
  // device would wait while others have all of them.
  if (job.device === 'cpu') (job.priority === 'low' ? runLow : runWhenIdle)();
  const end = await runJob(job, {
    clock: systemClock,
    emit: (event) => channel.send(event),
    async between() {
      if (isPausing) throw new Paused();
    },
  });
  channel.sendLast(end, end.type === 'failed' ? 1 : 0);
}
