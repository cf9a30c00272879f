// `lorikeet bench`: loads a running server as clients would, and prints how long they waited. Every prompt is
// different, so that the prefix cache holds nothing of it.

import { systemClock } from '../core/clock.ts';
import { LorikeetError } from '../core/errors.ts';
import { type Prng, prng } from '../core/prng.ts';
import { askServer, type Server, ServerRefusal } from './ask-server.ts';
import { type Command, type ExitCode, exitCodes, type Invocation, UsageError } from './command.ts';
import { columns, table } from './help.ts';
import { serverEvents } from './server-events.ts';

const numbers = {
  requests: { fallback: 32, most: 1_000_000, help: 'requests in all (32)' },
  streams: { fallback: 8, most: 10_000, help: 'requests at a time (8)' },
  'prompt-words': { fallback: 64, most: 100_000, help: 'words of a prompt (64)' },
  'max-tokens': { fallback: 32, most: 100_000, help: 'tokens of an answer, all of which are generated (32)' },
  seed: { fallback: 1, most: Number.MAX_SAFE_INTEGER, help: 'of the prompts (1): the same seed asks the same' },
} as const;

export const benchCommand: Command = {
  name: 'bench',
  usage: 'bench',
  summary: 'load a running server and print first tokens, times between tokens, tokens a second',
  options: {
    adapters: { placeholder: 'list', help: 'adapters to ask in turns, `base` for the base model (base)' },
    ...Object.fromEntries(
      Object.entries(numbers).map(([flag, { help }]) => [flag, { placeholder: 'n', help } as const]),
    ),
  },
  settings: 'client',
  positionalsMax: 0,
  async run(invocation) {
    const load = loadOf(invocation);
    const server = askServer(invocation.loadConfig().config);
    const { data } = await server.get<{ data: { id: string }[] }>('/v1/models');
    const began = systemClock.monotonic();
    const asked = await askAll(server, load, data[0]!.id);
    const report = reportOf(load, asked, systemClock.monotonic() - began);
    if (invocation.json) invocation.printJson(report);
    else for (const line of textOf(report)) invocation.print(line);
    return exitOf(report);
  },
};

type Load = {
  readonly adapters: readonly string[];
  readonly requests: number;
  readonly streams: number;
  readonly promptWords: number;
  readonly maxTokens: number;
  readonly seed: number;
};

function loadOf({ flags }: Invocation): Load {
  const numberOf = (flag: keyof typeof numbers): number => {
    const value = flags[flag];
    const { fallback, most } = numbers[flag];
    if (value === undefined) return fallback;
    const number = Number(value);
    if (/^[1-9]\d*$/.test(String(value)) && number <= most) return number;
    throw new UsageError(`--${flag} must be a whole number from 1 to ${most}, not \`${value}\`.`);
  };
  const adapters = String(flags.adapters ?? 'base').split(',');
  if (adapters.includes('')) throw new UsageError('--adapters is a list such as base,pirate.');
  return {
    adapters,
    requests: numberOf('requests'),
    streams: numberOf('streams'),
    promptWords: numberOf('prompt-words'),
    maxTokens: numberOf('max-tokens'),
    seed: numberOf('seed'),
  };
}

type Asked = {
  readonly adapter: string;
  /** Code of the error; null where the request ended well. */
  readonly error: string | null;
  readonly firstMs: number | null;
  readonly betweenMs: readonly number[];
  readonly wholeMs: number;
  readonly promptTokens: number;
  readonly tokens: number;
};

async function askAll(server: Server, load: Load, base: string): Promise<Asked[]> {
  const asked: Asked[] = [];
  let next = 0;
  const stream = async () => {
    while (next < load.requests) {
      const i = next++;
      const adapter = load.adapters[i % load.adapters.length]!;
      asked.push(await askOne(server, load, { adapter, base, random: prng(load.seed * 1_000_003 + i) }));
    }
  };
  await Promise.all(Array.from({ length: Math.min(load.streams, load.requests) }, stream));
  return asked;
}

type One = { readonly adapter: string; readonly base: string; readonly random: Prng };
type Chunk = {
  error?: { code: string };
  choices?: readonly { text: string; finish_reason: string | null }[];
  usage?: { prompt_tokens: number; completion_tokens: number } | null;
};

async function askOne(server: Server, load: Load, { adapter, base, random }: One): Promise<Asked> {
  const began = systemClock.monotonic();
  const betweenMs: number[] = [];
  const said = { firstMs: null as number | null, promptTokens: 0, tokens: 0 };
  let last = began;
  let error: string | null = null;
  try {
    const response = await server.post('/v1/completions', {
      model: adapter === 'base' ? base : adapter,
      prompt: textOfWords(random, load.promptWords),
      ...{ max_tokens: load.maxTokens, min_tokens: load.maxTokens, ignore_eos: true, temperature: 0 },
      ...{ stream: true, stream_options: { include_usage: true } },
    });
    for await (const data of serverEvents(response.body!)) {
      if (data === '[DONE]') break;
      const chunk = JSON.parse(data) as Chunk;
      if (chunk.error !== undefined) error = chunk.error.code;
      if (chunk.usage) [said.promptTokens, said.tokens] = [chunk.usage.prompt_tokens, chunk.usage.completion_tokens];
      if (chunk.choices?.[0]?.finish_reason !== null) continue;
      const now = systemClock.monotonic();
      if (said.firstMs === null) said.firstMs = now - began;
      else betweenMs.push(now - last);
      last = now;
    }
  } catch (cause) {
    error = codeOf(cause);
  }
  return { adapter, error, ...said, betweenMs, wholeMs: systemClock.monotonic() - began };
}

function codeOf(cause: unknown): string {
  if (cause instanceof ServerRefusal || cause instanceof LorikeetError) return cause.code;
  // The connection broke in the middle of a stream.
  if (cause instanceof TypeError) return 'connection_broken';
  throw cause;
}

const vocabulary = 'bird branch seed river stone cloud market letter morning garden number window color paper'.split(
  ' ',
);

const textOfWords = (random: Prng, words: number): string =>
  Array.from({ length: words }, () => vocabulary[Math.floor(random() * vocabulary.length)]).join(' ');

type Spread = { readonly p50: number; readonly p95: number; readonly p99: number };
type Times = {
  readonly requests: number;
  readonly first_token_ms: Spread | null;
  readonly between_tokens_ms: Spread | null;
};
type Report = Times & {
  readonly load: Load;
  readonly seconds: number;
  readonly answer_ms: Spread | null;
  readonly prompt_tokens: number;
  readonly generated_tokens: number;
  readonly generated_tokens_per_second: number;
  readonly requests_per_second: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly by_adapter: Readonly<Record<string, Times>>;
};

function reportOf(load: Load, asked: readonly Asked[], ms: number): Report {
  const good = asked.filter(({ error }) => error === null);
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const perSecond = (count: number) => Number(((count * 1000) / ms).toFixed(2));
  const generated = sum(good.map(({ tokens }) => tokens));
  const errors: Record<string, number> = {};
  for (const { error } of asked) if (error !== null) errors[error] = (errors[error] ?? 0) + 1;
  const byAdapter = Object.groupBy(good, ({ adapter }) => adapter);
  return {
    load,
    ...timesOf(good),
    seconds: Number((ms / 1000).toFixed(3)),
    answer_ms: spreadOf(good.map(({ wholeMs }) => wholeMs)),
    prompt_tokens: sum(good.map(({ promptTokens }) => promptTokens)),
    generated_tokens: generated,
    generated_tokens_per_second: perSecond(generated),
    requests_per_second: perSecond(good.length),
    errors,
    by_adapter: Object.fromEntries(Object.entries(byAdapter).map(([name, some = []]) => [name, timesOf(some)])),
  };
}

const timesOf = (asked: readonly Asked[]): Times => ({
  requests: asked.length,
  first_token_ms: spreadOf(asked.flatMap(({ firstMs }) => (firstMs === null ? [] : [firstMs]))),
  between_tokens_ms: spreadOf(asked.flatMap(({ betweenMs }) => betweenMs)),
});

function spreadOf(values: readonly number[]): Spread | null {
  if (values.length === 0) return null;
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) => Number(sorted[Math.ceil(share * sorted.length) - 1]!.toFixed(2));
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

function textOf(report: Report): string[] {
  const { load, errors, by_adapter } = report;
  const failed = Object.entries(errors).map(([code, count]) => `${count} ${code}`);
  const rows: (readonly [string, string])[] = [
    ['answered', `${report.requests} of ${load.requests} requests, ${load.streams} at a time, ${report.seconds} s`],
    ['errors', failed.join(', ') || 'none'],
    ['first token', shown(report.first_token_ms)],
    ['between tokens', shown(report.between_tokens_ms)],
    ['whole answer', shown(report.answer_ms)],
    ['generated', `${report.generated_tokens_per_second} tokens/s, ${report.requests_per_second} requests/s`],
    ['prompts', `${Math.round(report.prompt_tokens / Math.max(1, report.requests))} tokens each`],
  ];
  const names = Object.keys(by_adapter);
  if (names.length < 2) return [columns(rows)];
  const parts = names.map((name) => {
    const { requests, first_token_ms, between_tokens_ms } = by_adapter[name]!;
    return [`  ${name}`, `${requests}`, shown(first_token_ms), shown(between_tokens_ms)];
  });
  return [columns(rows), '', ...table([['  adapter', 'requests', 'first token', 'between tokens'], ...parts])];
}

const shown = (spread: Spread | null): string =>
  spread === null ? 'none' : `p50 ${spread.p50} ms, p95 ${spread.p95} ms, p99 ${spread.p99} ms`;

/** A bench without any answer fails; refusals beside answers are a result. */
function exitOf({ requests, errors }: Report): ExitCode {
  if (requests > 0) return exitCodes.ok;
  return 'engine_unavailable' in errors ? exitCodes.unavailable : exitCodes.failed;
}
