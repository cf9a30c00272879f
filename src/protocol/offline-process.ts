// One-shot processes that work on weights: merged exports and analyses. In the server they would block the event loop,
// and in the engine they would take its cores. They run at a low priority, few at once, and end when their caller
// leaves. This module starts, kills and listens to them; it does not know their work.

import type { ChildProcess } from 'node:child_process';
import { constants } from 'node:os';
import { pipeline, type Readable, Transform } from 'node:stream';
import type { ModelFiles } from '../core/base-model.ts';
import { LorikeetError } from '../core/errors.ts';
import { readOfflineEvent } from './checks/offline-events.ts';
import { forkNode } from './child-process.ts';
import type { AdapterAnalysis, AnalysisOrder, ExportOrder, OfflineEvent, OfflineWork } from './offline-messages.ts';

/** An export's size and data. `body` ends with an error unless it brings exactly `bytes` bytes. */
export type ExportedFile = { readonly bytes: number; readonly body: Readable };

/**
 * Runs work in processes. Both methods throw `offline_overloaded` at once, and the work's own errors later; an aborted
 * signal kills the process.
 */
export type OfflineClient = {
  exportMerged(order: ExportOrder, signal: AbortSignal): Promise<ExportedFile>;
  analyse(order: AnalysisOrder, signal: AbortSignal): Promise<AdapterAnalysis>;
  /** Kills the running processes. */
  close(): void;
};

export type OfflineOptions = {
  /** Main file of the process. */
  readonly entry: string | URL;
  /** The whole environment of the process: nothing is inherited. */
  readonly env: Record<string, string>;
  readonly model: ModelFiles;
  readonly limits: { readonly offlineProcesses: number; readonly offlineLogBytes: number };
  readonly log: { warn(fields: object, message: string): void };
};

export function offlineClient(options: OfflineOptions): OfflineClient {
  const { model, limits } = options;
  const running = new Set<ChildProcess>();
  const start = (work: OfflineWork, signal: AbortSignal) => {
    if (running.size >= limits.offlineProcesses) throw new LorikeetError('offline_overloaded');
    signal.throwIfAborted();
    const child = startProcess(options, work);
    running.add(child);
    const kill = () => void child.kill('SIGKILL');
    signal.addEventListener('abort', kill);
    const free = () => {
      running.delete(child);
      signal.removeEventListener('abort', kill);
    };
    child.once('close', free);
    // A process that could not be started emits no `close`.
    child.once('error', free);
    return child;
  };
  return {
    async exportMerged(order, signal) {
      return await exportedFile(start({ kind: 'export', model, ...order }, signal));
    },
    async analyse(order, signal) {
      const child = start({ kind: 'analysis', model, ...order }, signal);
      return (await firstEvent(child, 'analysis')).analysis;
    },
    close() {
      for (const child of running) child.kill('SIGKILL');
    },
  };
}

/**
 * Nice value of the processes: a tenth of a core where serving takes all. At the lowest priority that would be a
 * seventieth, and a download of seconds would take minutes.
 */
const nice = constants.priority.PRIORITY_BELOW_NORMAL;

function startProcess({ entry, env, limits, log }: OfflineOptions, work: OfflineWork): ChildProcess {
  const child = forkNode(entry, { env, nice, stdout: 'pipe', stderr: 'pipe' });
  let written = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    written = (written + text).slice(0, limits.offlineLogBytes);
  });
  child.once('close', () => {
    if (written !== '') log.warn({ kind: work.kind, stderr: written }, 'an offline process complained');
  });
  child.send(work, () => {});
  return child;
}

/** Listens to the child's events. @param take gets null for an invalid message, after which the child is killed */
function listen(child: ChildProcess, take: (event: OfflineEvent | null) => void): void {
  child.on('message', (message) => {
    const event = readOfflineEvent(message);
    take(event);
    if (event === null) child.kill('SIGKILL');
  });
}

type EventOf<T> = Extract<OfflineEvent, { type: T }>;

/** Waits for an event of `type`; rejects where the work fails or the process ends before. */
function firstEvent<T extends OfflineEvent['type']>(child: ChildProcess, type: T): Promise<EventOf<T>> {
  return new Promise((resolve, reject) => {
    listen(child, (event) => {
      if (event === null) reject(ended('said what is no message of its kind'));
      else if (event.type === type) resolve(event as EventOf<T>);
      else if (event.type === 'failed') reject(failureOf(event));
    });
    child.once('error', (cause) => reject(ended(`could not be started: ${cause.message}`, cause)));
    child.once('close', (code, signal) => reject(ended(`ended (${signal ?? `exit code ${code}`})`)));
  });
}

const failureOf = ({ code, message, param }: EventOf<'failed'>) =>
  new LorikeetError(code, { message, ...(param === null ? {} : { param }) });

const ended = (how: string, cause?: unknown) =>
  new LorikeetError('offline_failed', { message: `The process that works on the weights ${how}.`, cause });

/**
 * Opens the export's data. The output is read from the start, since the process may be done before its first message is
 * read. A reader that leaves ends the process, and an output that ends early is an error.
 */
async function exportedFile(child: ChildProcess): Promise<ExportedFile> {
  let announced = -1;
  let received = 0;
  let failure = ended('ended before its output did');
  listen(child, (event) => {
    if (event?.type === 'bytes') announced = event.bytes;
    if (event?.type === 'failed') failure = failureOf(event);
  });
  // `close` comes after all messages, some of which may be read later than the end of the output.
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const whole = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      received += chunk.length;
      done(null, chunk);
    },
    flush(done) {
      closed.then(() => done(received === announced ? null : failure));
    },
  });
  const body = pipeline(child.stdout!, whole, () => void child.kill('SIGKILL'));
  const { bytes } = await firstEvent(child, 'bytes');
  return { bytes, body };
}

export type OfflineChannel = {
  readonly work: Promise<OfflineWork>;
  /** Resolves when the event is written. */
  send(event: OfflineEvent): Promise<void>;
  /** Lets the process end when its output is written. */
  close(): void;
};

/**
 * Opens the process's side of the channel. The process ignores signals: Ctrl-C signals the whole group, and only the
 * server ends it.
 */
export function offlineChannel(): OfflineChannel {
  const send = process.send?.bind(process);
  if (send === undefined) throw new LorikeetError('offline_failed', { message: 'It is started by the server.' });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  const orphaned = () => process.exit(1);
  process.once('disconnect', orphaned);
  return {
    work: new Promise((resolve) => process.once('message', (work) => resolve(work as OfflineWork))),
    send: (event) =>
      new Promise((resolve, reject) => {
        send(event, undefined, undefined, (error) => (error === null ? resolve() : reject(error)));
      }),
    close() {
      process.off('disconnect', orphaned);
      process.disconnect();
    },
  };
}
