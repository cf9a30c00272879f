// A child process that takes commands and says events, as whoever supervises it sees it, and the child's side of the
// same channel. Knows how to start, kill and listen to a process; knows nothing of what the two say to each other, but
// that a child which says something else is ended. What the parent says is believed: it is who started the child.

import { fork } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { LorikeetError } from '../core/errors.ts';
import { isRecord } from '../core/is-record.ts';
import { nodeArguments } from '../core/node-arguments.ts';
import type { ReadMessage } from './checks/check-message.ts';

export type ChildProcess<Command> = {
  readonly pid: number | undefined;
  /** Commands to a process that has gone are dropped: `onExit` tells of it. */
  send(command: Command): void;
  /** SIGKILL. A child holds nothing that is not on the disk or can be had again. */
  kill(): void;
  /** Processor time that it has had, milliseconds; null where the system does not tell, or it has gone. */
  processorMs?(): number | null;
};

export type ChildHandlers<Event> = {
  onEvent(event: Event): void;
  /** Exactly once, and last. `reason` completes the sentence "The engine ...". */
  onExit(reason: string): void;
};

export type StartChild<Command, Event> = (handlers: ChildHandlers<Event>) => ChildProcess<Command>;

export type ChildOptions<Event> = {
  /** Of what the child says; null ends it. */
  readonly read: ReadMessage<Event>;
  /** The whole environment of the child: nothing is inherited. */
  readonly env: Record<string, string>;
  /** How far the child steps back for others, 0 to 19; left out: not at all. */
  readonly nice?: number;
  /** Of Node, beside those of every process. */
  readonly nodeArguments?: readonly string[];
  /** Nothing that it prints is of use. */
  readonly isSilent?: boolean;
};

/** What is in the pipe when the process ends is still read, but not waited for longer than this. */
const drainMs = 1000;

/** @param entry the child's main file */
export function childStarter<Command extends object, Event>(
  entry: string | URL,
  { read, env, nice = 0, nodeArguments: more = [], isSilent = false }: ChildOptions<Event>,
): StartChild<Command, Event> {
  return (handlers) => {
    // stdout belongs to the server's log; whatever native code prints goes to stderr.
    const child = fork(entry, [], {
      serialization: 'advanced',
      execPath: process.execPath,
      execArgv: [...nodeArguments, ...more],
      env,
      stdio: isSilent ? ['ignore', 'ignore', 'ignore', 'ipc'] : ['ignore', 2, 2, 'ipc'],
    });
    if (nice > 0 && child.pid !== undefined) stepBack(child.pid, nice);
    let ended = false;
    const end = (reason: string) => {
      if (ended) return;
      ended = true;
      handlers.onExit(reason);
    };
    let isKilledByUs = false;
    const kill = () => {
      isKilledByUs = true;
      child.kill('SIGKILL');
    };
    child.on('message', (message) => {
      if (ended) return;
      const event = read(message);
      if (event !== null) return handlers.onEvent(event);
      end(`said what is no message of its kind (${kindOf(message)})`);
      kill();
    });
    child.once('error', (error) => end(`could not be started: ${error.message}`));
    child.once('disconnect', () => child.kill('SIGKILL'));
    child.once('exit', (code, signal) => {
      const hint = signal === 'SIGKILL' && !isKilledByUs ? ' (the system does so when memory runs out)' : '';
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
      kill,
      processorMs: () => (child.pid === undefined || ended ? null : processorMs(child.pid)),
    };
  };
}

/** For the log, whatever it is. */
const kindOf = (message: unknown): string =>
  isRecord(message) && typeof message.type === 'string' ? message.type.slice(0, 40) : typeof message;

/** A hundredth of a second, the unit of Linux's /proc on every architecture that Node runs on. */
const statUnitMs = 10;

function processorMs(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // Behind the name, which may hold anything: fields 14 and 15 of all.
    const [user, system] = stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .slice(11, 13)
      .map(Number);
    return (user! + system!) * statUnitMs;
  } catch {
    return null;
  }
}

/** Threads take the priority of the one that makes them, so it is set before the child has made any that compute. */
function stepBack(pid: number, nice: number): void {
  try {
    setPriority(pid, nice);
  } catch {
    // It has ended already, which its own end tells, or the system has no such thing.
  }
}

export type ParentChannel<Command, Event> = {
  send(event: Event): void;
  onCommand(listener: (command: Command) => void): void;
};

/**
 * The child's side of the channel. The process ends when its parent does, and takes its end from nobody else:
 * Ctrl-C and a service manager signal the whole group, and the server decides what is still to finish.
 * @param name of the child, for who starts it by hand
 */
export function channelToParent<Command, Event extends object>(name: string): ParentChannel<Command, Event> {
  const send = process.send?.bind(process);
  if (send === undefined) {
    throw new LorikeetError('engine_unavailable', { message: `The ${name} is started by the server, not by hand.` });
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  process.once('disconnect', () => process.exit(0));
  return {
    send: (event) => void send(event, undefined, undefined, () => {}),
    onCommand: (listener) => void process.on('message', (message) => listener(message as Command)),
  };
}
