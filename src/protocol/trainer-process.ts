// Starts the trainer's child process with the trainer's messages.

import { readTrainerEvent } from './checks/trainer-events.ts';
import { childStarter, type StartChild } from './child-process.ts';
import type { TrainerCommand, TrainerEvent } from './training-messages.ts';

export type StartTrainerProcess = StartChild<TrainerCommand, TrainerEvent>;

/** Nice value where the system has no scheduling class for idle cores: about a quarter of a contested core. */
const nice = 5;

/**
 * @param entry the trainer's main file
 * @param env the whole environment of the child: nothing is inherited
 */
export const trainerProcessStarter = (entry: string | URL, env: Record<string, string>): StartTrainerProcess =>
  childStarter(entry, { env, nice, checkEvent: readTrainerEvent });
