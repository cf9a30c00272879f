// `lorikeet jobs list | show | follow | pause | resume | cancel`, on a running server.

import type { Job } from '../server/schemas/fine-tuning.ts';
import { allPages } from './all-pages.ts';
import { askServer, type Server } from './ask-server.ts';
import { type Command, type ExitCode, exitCodes, type Invocation } from './command.ts';
import { date } from './date.ts';
import { columns } from './help.ts';
import { addressOf, followJob } from './jobs/follow.ts';
import { duration } from './jobs/training-bar.ts';
import { wrongVerb } from './verbs.ts';

const usage = 'jobs list | show <id> | follow <id> | pause <id> | resume <id> | cancel <id>';

export const jobsCommand: Command = {
  name: 'jobs',
  usage,
  summary: 'training jobs of a running server',
  options: {},
  settings: 'client',
  positionalsMax: 2,
  async run(invocation) {
    const [verb = '', id] = invocation.positionals;
    const run = Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
    if (run === undefined || (verb === 'list') !== (id === undefined)) throw wrongVerb(jobsCommand, verb);
    return await run(askServer(invocation.loadConfig().config), invocation, id ?? '');
  },
};

type Verb = (server: Server, invocation: Invocation, id: string) => Promise<ExitCode>;

const verbs: Readonly<Record<string, Verb>> = {
  async list(server, { json, print, printJson }) {
    const jobs = await allPages<Job>(server, '/v1/fine_tuning/jobs');
    if (json) printJson(jobs);
    else if (jobs.length === 0) print('No jobs. `lorikeet train <file.jsonl>` begins one.');
    else print(columns(jobs.map((job) => [`${job.id}  ${job.status.padEnd(16)}`, progressOf(job)])));
    return exitCodes.ok;
  },
  async show(server, { json, print, printJson }, id) {
    const job = await server.get<Job>(addressOf(id));
    if (json) printJson(job);
    else print(describe(job));
    return exitCodes.ok;
  },
  follow: followJob,
  pause: change('pause'),
  resume: change('resume'),
  cancel: change('cancel'),
};

function change(verb: 'pause' | 'resume' | 'cancel'): Verb {
  return async (server, { json, print, printJson }, id) => {
    const answer = await server.ask(`${addressOf(id)}/${verb}`, { method: 'POST' });
    const job = (await answer.json()) as Job;
    if (json) printJson(job);
    else print(`${id} is ${job.status}.`);
    return exitCodes.ok;
  };
}

function progressOf({ fine_tuned_model: adapter, error, step, total_steps: total }: Job): string {
  if (adapter !== null) return adapter;
  if (error !== null) return error.message;
  return total === null ? '' : `step ${step} of ${total}`;
}

function describe(job: Job): string {
  const left = job.estimated_finish === null ? null : job.estimated_finish - job.created_at;
  return columns([
    ['id', job.id],
    ['status', job.status],
    ['model', job.model],
    ['made', date(job.created_at * 1000)],
    ...(job.total_steps === null ? [] : [['step', `${job.step} of ${job.total_steps}`] as const]),
    ...(left === null ? [] : [['in all', `about ${duration(left)}`] as const]),
    ...(job.finished_at === null ? [] : [['ended', date(job.finished_at * 1000)] as const]),
    ...(job.fine_tuned_model === null ? [] : [['adapter', job.fine_tuned_model] as const]),
    ...(job.trained_tokens === null ? [] : [['tokens', job.trained_tokens.toLocaleString('en')] as const]),
    ...(job.error === null ? [] : [['error', `${job.error.message} (${job.error.code})`] as const]),
    ...Object.entries(job.hyperparameters).map(([name, value]) => [name, textOf(value)] as const),
  ]);
}

const textOf = (value: unknown) =>
  Array.isArray(value) ? value.join(', ') : typeof value === 'object' ? JSON.stringify(value) : String(value);
