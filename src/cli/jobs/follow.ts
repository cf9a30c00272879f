// Follows a training job until it is over, across broken connections and restarts of the server.

import { setTimeout } from 'node:timers/promises';
import { systemClock } from '../../core/clock.ts';
import { LorikeetError } from '../../core/errors.ts';
import type { Job, JobEvent } from '../../server/schemas/fine-tuning.ts';
import type { Server } from '../ask-server.ts';
import { type ExitCode, exitCodes, type Invocation } from '../command.ts';
import { serverEvents } from '../server-events.ts';
import { type StepFigures, type TrainingBar, trainingBar } from './training-bar.ts';

/** Consecutive connections without an event before following gives up, and the wait before each next one. */
const triesMax = 10;
const waitMs = 1000;

const over: readonly string[] = ['succeeded', 'failed', 'cancelled'];

export const addressOf = (id: string) => `/v1/fine_tuning/jobs/${encodeURIComponent(id)}`;

/** Shows a job's progress until the job ends. Ctrl-C stops the following, and not the job. */
export async function followJob(server: Server, { json, io, print, printJson }: Invocation, id: string) {
  const bar = trainingBar(io.stderr, systemClock);
  const stop = new AbortController();
  const detach = () => stop.abort();
  process.once('SIGINT', detach);
  try {
    await follow(server, id, bar, stop.signal);
  } finally {
    process.off('SIGINT', detach);
    bar.clear();
  }
  const job = await server.get<Job>(addressOf(id));
  if (json) printJson(job);
  else if (!over.includes(job.status)) print(howToGoOn(id));
  else if (job.status === 'succeeded')
    print(`${job.fine_tuned_model} is ready. \`lorikeet generate --adapter ${job.fine_tuned_model} '...'\` asks it.`);
  else print(job.error === null ? `${id} was ${job.status}.` : `${id} ${job.status}: ${job.error.message}`);
  return exitCodeOf(job);
}

export const howToGoOn = (id: string) =>
  `${id} goes on. \`lorikeet jobs follow ${id}\` shows it, \`lorikeet jobs cancel ${id}\` ends it.`;

const exitCodeOf = ({ status }: Job): ExitCode =>
  status === 'failed' || status === 'cancelled' ? exitCodes.failed : exitCodes.ok;

async function follow(server: Server, id: string, bar: TrainingBar, stop: AbortSignal): Promise<void> {
  let after = '';
  for (let tries = 0; tries < triesMax && !stop.aborted; tries++) {
    try {
      const address = `${addressOf(id)}/events?stream=true${after && `&after=${encodeURIComponent(after)}`}`;
      const { body } = await server.ask(address, { signal: stop });
      for await (const data of serverEvents(body!)) {
        if (data === '[DONE]') return;
        const event = JSON.parse(data) as JobEvent;
        // An event without an id is an error of the stream: the events are asked for again.
        if (event.id === undefined) break;
        after = event.id;
        tries = 0;
        show(event, bar);
      }
    } catch (error) {
      if (stop.aborted) return;
      if (!(isBroken(error) && tries < triesMax - 1)) throw error;
    }
    await setTimeout(waitMs, undefined, { signal: stop }).catch(() => {});
  }
}

/** Whether the connection failed, and not the request. */
const isBroken = (error: unknown) =>
  error instanceof TypeError || (error instanceof LorikeetError && error.code === 'engine_unavailable');

function show({ data, level, message }: JobEvent, bar: TrainingBar): void {
  if (data !== null) bar.step(data as StepFigures);
  else bar.say(level === 'info' ? message : `${level}: ${message}`);
}
