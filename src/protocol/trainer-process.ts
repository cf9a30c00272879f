// The trainer's child process: what it is told and what it says.

import { readTrainerEvent } from './checks/trainer-events.ts';
import { childStarter, type StartChild } from './child-process.ts';
import type { TrainerCommand, TrainerEvent } from './training-messages.ts';

export type StartTrainerProcess = StartChild<TrainerCommand, TrainerEvent>;

/** Where the system has no class of processes for idle cores: about a quarter of a contested one. */
const nice = 5;

/**
 * @param entry the trainer's main file
 * @param env the whole environment of the child: nothing is inherited
 */
export const trainerProcessStarter = (entry: string | URL, env: Record<string, string>): StartTrainerProcess =>
  childStarter(entry, { env, nice, read: readTrainerEvent });
