// Starts the engine's child process with the engine's messages.

import { readEngineEvent } from './checks/engine-events.ts';
import { type ChildHandlers, type ChildProcess, childStarter, type StartChild } from './child-process.ts';
import type { EngineCommand, EngineEvent } from './messages.ts';

export type EngineProcess = ChildProcess<EngineCommand>;
export type EngineHandlers = ChildHandlers<EngineEvent>;
export type StartEngineProcess = StartChild<EngineCommand, EngineEvent>;

/**
 * @param entry the engine's main file
 * @param env the whole environment of the child: nothing is inherited
 */
export const engineProcessStarter = (entry: string | URL, env: Record<string, string>): StartEngineProcess =>
  childStarter(entry, { env, checkEvent: readEngineEvent });
