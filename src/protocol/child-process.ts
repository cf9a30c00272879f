// A child process that takes commands and reports events, as its supervisor sees it, and the child's side of the same
// channel. This module starts, kills and listens to a process. It does not know the messages' content, but it ends a
// child whose message fails its check. The parent's messages are trusted, because the parent started the child.

import { fork, type ChildProcess as NodeProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { LorikeetError } from '../core/errors.ts';
import { isRecord } from '../core/is-record.ts';
import { nodeArguments } from '../core/node-arguments.ts';
import type { ReadMessage } from './checks/check-message.ts';

export type ChildProcess<Command> = {
  readonly pid: number | undefined;
  /** Sends a command. A command to a process that has ended is dropped: `onExit` reports the end. */
  send(command: Command): void;
  /** Sends SIGKILL. A child holds nothing that is not on the disk or can be computed again. */
  kill(): void;
  /**
   * Processor time used by the process in milliseconds; null where the system does not tell, or the process has ended.
   */
  processorMs?(): number | null;
};

export type ChildHandlers<Event> = {
  onEvent(event: Event): void;
  /** Called exactly once, after all events. `reason` completes the sentence "The engine ...". */
  onExit(reason: string): void;
};

export type StartChild<Command, Event> = (handlers: ChildHandlers<Event>) => ChildProcess<Command>;

type NodeForm = {
  /** The whole environment of the child: nothing is inherited. */
  readonly env: Record<string, string>;
  /** Nice value of the child, 0 to 19; 0 by default. */
  readonly nice?: number;
  /** Arguments for Node, in addition to those of every process. */
  readonly nodeArguments?: readonly string[];
};

export type ChildOptions<Event> = NodeForm & {
  /** Checks an event of the child; null ends the child. */
  readonly checkEvent: ReadMessage<Event>;
  /** Discards everything that the child prints. */
  readonly isSilent?: boolean;
};

/** Longest time for reading what is still in the pipe after the process has ended. */
const drainMs = 1000;

type Output = 'ignore' | 'pipe' | 2;

/** Starts a Node process with a channel for messages. */
export function forkNode(
  entry: string | URL,
  { env, nice = 0, nodeArguments: more = [], ...out }: NodeForm & { readonly stdout: Output; readonly stderr: Output },
): NodeProcess {
  const child = fork(entry, [], {
    serialization: 'advanced',
    execPath: process.execPath,
    execArgv: [...nodeArguments, ...more],
    env,
    stdio: ['ignore', out.stdout, out.stderr, 'ipc'],
  });
  if (nice > 0 && child.pid !== undefined) stepBack(child.pid, nice);
  return child;
}

/** Time for a child's last event to get through the pipe before the child ends. */
const lastEventMs = 100;

/** Makes a function that starts the child. @param entry the child's main file */
export function childStarter<Command extends object, Event>(
  entry: string | URL,
  { checkEvent, isSilent = false, ...form }: ChildOptions<Event>,
): StartChild<Command, Event> {
  return (handlers) => {
    // stdout belongs to the server's log. Output of native code goes to stderr.
    const output = isSilent ? 'ignore' : 2;
    const child = forkNode(entry, { ...form, stdout: output, stderr: output });
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
      const event = checkEvent(message);
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

/** Describes an invalid message for the log. */
const kindOf = (message: unknown): string =>
  isRecord(message) && typeof message.type === 'string' ? message.type.slice(0, 40) : typeof message;

/** Milliseconds of one clock tick in Linux's /proc: a hundredth of a second on every architecture that Node runs on. */
const statUnitMs = 10;

function processorMs(pid: number): number | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // utime and stime are fields 14 and 15. Counting starts behind the process name, which may contain anything.
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

/**
 * Sets the child's nice value. Threads inherit it from the thread that makes them, so it is set before the child has
 * any.
 */
function stepBack(pid: number, nice: number): void {
  try {
    setPriority(pid, nice);
  } catch {
    // The child has already ended, which its exit event reports, or the system has no nice values.
  }
}

export type ParentChannel<Command, Event> = {
  send(event: Event): void;
  /** Sends the last event, and ends the process when the event has had time to get through the pipe. */
  sendLast(event: Event, exitCode: number): void;
  onCommand(listener: (command: Command) => void): void;
};

/**
 * Opens the child's side of the channel. The process ends when its parent does, and ignores signals: Ctrl-C and a
 * service manager signal the whole group, and the server decides what is still finished. Throws `engine_unavailable`
 * where the process was not started by a server.
 * @param name of the child, for the error message
 */
export function channelToParent<Command, Event extends object>(name: string): ParentChannel<Command, Event> {
  const send = process.send?.bind(process);
  if (send === undefined) {
    throw new LorikeetError('engine_unavailable', { message: `The ${name} is started by the server, not by hand.` });
  }
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  process.once('disconnect', () => process.exit(0));
  const sendEvent = (event: Event) => void send(event, undefined, undefined, () => {});
  return {
    send: sendEvent,
    sendLast(event, exitCode) {
      sendEvent(event);
      setTimeout(() => process.exit(exitCode), lastEventMs);
    },
    onCommand: (listener) => void process.on('message', (message) => listener(message as Command)),
  };
}
