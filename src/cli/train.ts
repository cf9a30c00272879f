// `lorikeet train <file>`: uploads rows to a running server, starts a job on them, and follows it until it is over.

import { openAsBlob } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import type { FileObject } from '../server/schemas/files.ts';
import type { Job } from '../server/schemas/fine-tuning.ts';
import { askServer, type Server, ServerRefusal } from './ask-server.ts';
import { type Command, exitCodes, type Invocation, UsageError } from './command.ts';
import { choices, hyperparametersOf, inFlags, numberOf } from './jobs/choices.ts';
import { followJob, howToGoOn } from './jobs/follow.ts';

export const trainCommand: Command = {
  name: 'train',
  usage: 'train <file.jsonl>',
  summary: 'train an adapter on a running server; rows are {"prompt", "completion"} or {"messages"}',
  options: {
    name: { placeholder: 'name', help: "the adapter's name (ft- and the job's id); also --suffix" },
    suffix: { placeholder: 'name', help: 'the same as --name' },
    validation: { placeholder: 'file', help: 'rows that are not trained on and tell how good it is' },
    from: { placeholder: 'ref', help: 'an adapter to go on from, instead of a fresh one' },
    alias: { placeholder: 'alias', help: 'of the name, to move to the new version on success' },
    'if-better': { placeholder: null, help: 'move it only if the validation loss is below that of the version there' },
    canary: { placeholder: 'share', help: 'move it for this share of the requests only' },
    detach: { placeholder: null, help: 'do not wait for the end' },
    ...choices,
  },
  settings: 'client',
  positionalsMax: 1,
  async run(invocation) {
    const [path] = invocation.positionals;
    if (path === undefined) throw new UsageError('Write `lorikeet train <file.jsonl>`.');
    const { flags, json, io, print, printJson } = invocation;
    const rest = bodyOf(invocation);
    const server = askServer(invocation.loadConfig().config);
    const training_file = await uploadRows(server, path);
    const validation = flags.validation === undefined ? null : await uploadRows(server, String(flags.validation));
    const files = {
      training_file: training_file.id,
      ...(validation === null ? {} : { validation_file: validation.id }),
    };
    const answer = await server.post('/v1/fine_tuning/jobs', { ...files, ...rest }).catch((error) => {
      if (!(error instanceof ServerRefusal)) throw error;
      throw new ServerRefusal(error.status, error.code, inFlags(error.message));
    });
    const job = (await answer.json()) as Job;
    if (flags.detach === true) {
      if (json) printJson(job);
      else print(howToGoOn(job.id));
      return exitCodes.ok;
    }
    if (!json) io.stderr.write(`${training_file.rows} rows are on the server. Ctrl-C leaves the job to itself.\n`);
    return await followJob(server, invocation, job.id);
  },
};

function bodyOf(invocation: Invocation): Record<string, unknown> {
  const { name, suffix, from, alias, canary, 'if-better': ifBetter } = invocation.flags;
  if (name !== undefined && suffix !== undefined) throw new UsageError('--name and --suffix are the same.');
  const called = name ?? suffix;
  return {
    method: { type: 'supervised', supervised: { hyperparameters: hyperparametersOf(invocation) } },
    ...(called === undefined ? {} : { suffix: called }),
    ...(from === undefined ? {} : { model: from }),
    ...(alias === undefined ? {} : { alias }),
    ...(ifBetter === undefined ? {} : { alias_if_better: ifBetter }),
    ...(canary === undefined ? {} : { canary_weight: numberOf('canary', canary) }),
  };
}

/** Uploads a file of rows, streaming it from the disk. Adds the expected format to the error of a refused file. */
async function uploadRows(server: Server, path: string): Promise<FileObject> {
  const blob = await stat(path).then(
    (found) => (found.isFile() ? openAsBlob(path) : unreadable(path, 'it is no file')),
    (error: NodeJS.ErrnoException) => unreadable(path, error.code === 'ENOENT' ? 'it is not there' : error.message),
  );
  const form = new FormData();
  form.append('purpose', 'fine-tune');
  form.append('file', blob, basename(path));
  try {
    return (await (await server.ask('/v1/files', { method: 'POST', body: form })).json()) as FileObject;
  } catch (error) {
    if (error instanceof ServerRefusal && error.code === 'file_invalid') {
      throw new ServerRefusal(error.status, error.code, `${path}: ${firstOf(error.message)}\n${acceptedRows}`);
    }
    throw error;
  }
}

function unreadable(path: string, reason: string): never {
  throw new UsageError(`${path} cannot be read: ${reason}.`);
}

/** Shortens an error message to its first three lines: a file of another kind has the same error in every line. */
function firstOf(message: string): string {
  const lines = message.split(/(?<=\.) (?=Line \d)/);
  return lines.length <= 3 ? message : `${lines.slice(0, 3).join(' ')} And more.`;
}

const acceptedRows =
  'Each line is JSON: {"prompt": "...", "completion": "..."} or ' +
  '{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}.';
