// `lorikeet generate`: sends one request to a running server, and prints the answer as it comes.

import { text as readAll } from 'node:stream/consumers';
import { LorikeetError } from '../core/errors.ts';
import type { GenerateAnswer } from '../server/schemas/generate.ts';
import { askServer } from './ask-server.ts';
import { type Command, type ExitCode, exitCodes, type Invocation, UsageError } from './command.ts';
import { serverEvents } from './server-events.ts';

/** Flags whose values are sent as numbers, with their help; a field's name is the flag's with underscores. */
const numbers = {
  'max-tokens': 'tokens to generate at most',
  temperature: '0 is greedy',
  'top-p': 'keep the smallest set of tokens with this probability',
  'top-k': 'keep this many of the likeliest tokens',
  'min-p': "keep tokens with this share of the likeliest one's probability",
  seed: 'the same seed gives the same text',
  'repetition-penalty': '1 is none',
  'adapter-scale': 'multiplies what the adapter adds',
} as const;

export const generateCommand: Command = {
  name: 'generate',
  usage: 'generate [prompt]',
  summary: 'ask a running server; without a prompt, stdin is the prompt',
  options: {
    chat: { placeholder: null, help: 'send the prompt as a message through the chat template' },
    system: { placeholder: 'text', help: 'a system message before it; implies --chat' },
    adapter: { placeholder: 'ref', help: 'name, name@version or name:alias; none asks the base model' },
    stop: { placeholder: 'text', help: 'a text that ends the answer; may be given several times', multiple: true },
    ...Object.fromEntries(Object.entries(numbers).map(([flag, help]) => [flag, { placeholder: 'n', help }])),
  },
  settings: 'client',
  positionalsMax: 1,
  async run(invocation) {
    const { config } = invocation.loadConfig();
    const response = await askServer(config).post('/v1/generate', await bodyOf(invocation));
    return await show(response.body!, invocation);
  },
};

async function bodyOf({ positionals, flags, io }: Invocation): Promise<Record<string, unknown>> {
  const prompt = positionals[0] ?? (await readAll(io.stdin)).trimEnd();
  if (prompt === '') throw new UsageError('There is no prompt: write it as an argument, or pipe it in.');
  const system = flags.system === undefined ? [] : [{ role: 'system', content: flags.system }];
  const isChat = flags.chat === true || system.length > 0;
  const body: Record<string, unknown> = isChat
    ? { messages: [...system, { role: 'user', content: prompt }] }
    : { prompt };
  for (const flag of Object.keys(numbers)) {
    const value = flags[flag];
    if (value === undefined) continue;
    const number = Number(value);
    if (value === '' || Number.isNaN(number)) throw new UsageError(`--${flag} must be a number, not \`${value}\`.`);
    body[flag.replaceAll('-', '_')] = number;
  }
  if (flags.adapter !== undefined) body.adapter_id = flags.adapter;
  if (flags.stop !== undefined) body.stop = flags.stop;
  return { ...body, stream: true };
}

type StreamEvent = { token: { text: string } } | { error: { code: string; message: string } } | GenerateAnswer;

async function show(body: AsyncIterable<Uint8Array>, { json, io, printJson }: Invocation): Promise<ExitCode> {
  let answer: GenerateAnswer | null = null;
  for await (const data of serverEvents(body)) {
    if (data === '[DONE]') break;
    const event = JSON.parse(data) as StreamEvent;
    if ('error' in event) {
      if (json) printJson(event);
      else io.stderr.write(`\nlorikeet: ${event.error.message} (${event.error.code})\n`);
      return exitCodes.failed;
    }
    if ('token' in event) {
      if (!json) io.stdout.write(event.token.text);
    } else answer = event;
  }
  if (answer === null) {
    throw new LorikeetError('engine_unavailable', { message: 'The server closed the stream before the answer ended.' });
  }
  if (json) printJson(answer);
  else io.stdout.write('\n');
  return exitCodes.ok;
}
