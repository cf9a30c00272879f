// The engine's child process as the supervisor sees it: commands in, events out, one end. Knows how to start, kill and
// listen to a process; knows nothing of sequences.

import { fork } from 'node:child_process';
import { LorikeetError } from '../core/errors.ts';
import type { EngineCommand, EngineEvent } from './messages.ts';

export type EngineProcess = {
  readonly pid: number | undefined;
  /** Commands to a process that has gone are dropped: `onExit` tells of it. */
  send(command: EngineCommand): void;
  /** SIGKILL. The engine holds nothing that needs saving. */
  kill(): void;
};

export type EngineHandlers = {
  onEvent(event: EngineEvent): void;
  /** Exactly once, and last. `reason` completes the sentence "The engine ...". */
  onExit(reason: string): void;
};

export type StartEngineProcess = (handlers: EngineHandlers) => EngineProcess;

/** What is in the pipe when the process ends is still read, but not waited for longer than this. */
const drainMs = 1000;

/**
 * @param entry the engine's main file
 * @param env the whole environment of the child: nothing is inherited
 */
export function engineProcessStarter(entry: string | URL, env: Record<string, string>): StartEngineProcess {
  return (handlers) => {
    // stdout belongs to the server's log; whatever native code prints goes to stderr.
    const child = fork(entry, [], {
      serialization: 'advanced',
      execPath: process.execPath,
      execArgv: ['--disable-warning=ExperimentalWarning'],
      env,
      stdio: ['ignore', 2, 2, 'ipc'],
    });
    let ended = false;
    const end = (reason: string) => {
      if (ended) return;
      ended = true;
      handlers.onExit(reason);
    };
    child.on('message', (event) => {
      if (!ended) handlers.onEvent(event as EngineEvent);
    });
    child.once('error', (error) => end(`could not be started: ${error.message}`));
    child.once('disconnect', () => child.kill('SIGKILL'));
    child.once('exit', (code, signal) => {
      const hint = signal === 'SIGKILL' && !child.killed ? ' (the system does so when memory runs out)' : '';
      const reason = signal === null ? `ended with exit code ${code}` : `was ended by ${signal}${hint}`;
      if (!child.connected) return end(reason);
      child.once('disconnect', () => end(reason));
      setTimeout(() => end(reason), drainMs).unref();
    });
    return {
      pid: child.pid,
      send(command) {
        if (child.connected) child.send(command, () => {});
      },
      kill: () => void child.kill('SIGKILL'),
    };
  };
}

export type ParentChannel = {
  send(event: EngineEvent): void;
  onCommand(listener: (command: EngineCommand) => void): void;
};

/**
 * The child's side of the channel. The process ends when its parent does, and takes its end from nobody else:
 * Ctrl-C and a service manager signal the whole group, and the server decides what is still to finish.
 */
export function parentChannel(): ParentChannel {
  const send = process.send?.bind(process);
  if (send === undefined) {
    throw new LorikeetError('engine_unavailable', { message: 'The engine is started by the server, not by hand.' });
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  process.once('disconnect', () => process.exit(0));
  return {
    send: (event) => void send(event, undefined, undefined, () => {}),
    onCommand: (listener) => void process.on('message', (message) => listener(message as EngineCommand)),
  };
}
