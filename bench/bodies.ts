// npm run bench:bodies: how long one request holds the event loop, by the largest bodies that are read and that have
// the most in them. The engine computes nothing, and the tokeniser knows bytes: what is left is the server's own work.
// A turn is measured by the processor's time of its thread, so that other programs do not count.

import type { TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { limits } from '../src/core/limits.ts';
import { testApp } from '../test/helpers/app.ts';
import { describeMachine } from './machine.ts';

/** `entry` as often as a body holds it, or `most` times, between two texts. */
function filled(before: string, entry: string, after: string, most = Number.POSITIVE_INFINITY): string {
  const room = limits.bodyBytes - before.length - after.length;
  const count = Math.min(most, Math.floor(room / (entry.length + 1)));
  return before + `${entry},`.repeat(count).slice(0, -1) + after;
}
const list = (count: number, entry: string) => `[${`${entry},`.repeat(count).slice(0, -1)}]`;
const names = (name: (i: number) => string) => Array.from({ length: 60_000 }, (_, i) => `"${name(i)}":1`).join(',');

const turn = '{"role":"user","content":"x"}';
const chat = `{"messages":[${turn}]`;
const tool = '{"type":"function","function":{"name":"f","parameters":{"x":';
const bodies: Record<string, [path: string, body: string]> = {
  'token ids, one list': ['/v1/completions', filled('{"prompt":[', '1', ']}')],
  'token ids, 128 lists': ['/v1/completions', filled('{"prompt":[', list(8000, '12'), ']}', 128)],
  'token ids, 256 lists to embed': ['/v1/embeddings', filled('{"model":"tiny","input":[', list(8000, '1'), ']}', 256)],
  'token ids to detokenise': ['/detokenize', filled('{"tokens":[', '1', ']}')],
  'texts to embed': ['/v1/embeddings', filled('{"model":"tiny","input":[', '"x"', ']}')],
  'numbers of no form': ['/v1/completions', filled('{"prompt":[', '1.5', ']}')],
  'empty lists': ['/v1/completions', filled('{"prompt":[', '[]', ']}')],
  'empty objects': ['/v1/chat/completions', filled('{"messages":[', '{}', ']}')],
  'stop strings': ['/v1/completions', filled('{"prompt":"x","stop":[', '""', ']}')],
  'biases of logits': ['/v1/completions', `{"prompt":"x","logit_bias":{${names(String)}}}`],
  'biases of no token': ['/v1/completions', `{"prompt":"x","logit_bias":{${names((i) => `k${i}`)}}}`],
  '4,096 turns': ['/v1/chat/completions', filled('{"messages":[', turn, ']}', limits.messages)],
  'turns without end': ['/v1/chat/completions', filled('{"messages":[', turn, ']}', 32_000)],
  'a tool of numbers': ['/v1/chat/completions', filled(`${chat},"tools":[${tool}[`, '1', ']}}}]}')],
  'names of a schema': ['/v1/completions', `{"prompt":"x","guided_json":{"properties":{${names((i) => `k${i}`)}}}}`],
  'a text': ['/v1/completions', `{"prompt":"${'a '.repeat(limits.bodyBytes / 2 - 10)}"}`],
};

const ends: (() => unknown)[] = [];
const context = { after: (end: () => unknown) => ends.push(end) } as unknown as TestContext;
const { app } = await testApp(context, { maxContext: 8192, says: 'ok' });

const threadMs = () => {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
};
let [longest, last, isOver] = [0, threadMs(), false];
const tick = () => {
  const now = threadMs();
  longest = Math.max(longest, now - last);
  last = now;
  if (!isOver) setImmediate(tick);
};
tick();
const headers = { 'content-type': 'application/json' };
for (const [name, [url, body]] of Object.entries(bodies)) {
  const payload = Buffer.from(body);
  const rounds: number[] = [];
  let said = '';
  for (let round = 0; round < 5; round++) {
    await setTimeout(20);
    longest = 0;
    const answer = await app.inject({ method: 'POST', url, payload, headers });
    await setTimeout(5);
    rounds.push(longest);
    said = `${answer.statusCode} ${answer.json<{ error?: { code: string } }>().error?.code ?? ''}`;
  }
  const [least, most] = [Math.min(...rounds), Math.max(...rounds)];
  const size = `${(payload.length / 1e6).toFixed(1)} MB`;
  console.log(
    `${name.padEnd(30)} ${size}  ${least.toFixed(0).padStart(4)} to ${most.toFixed(0).padStart(3)} ms  ${said}`,
  );
}
isOver = true;
for (const end of ends.reverse()) await end();
const machine = describeMachine();
console.log(`${machine.cpu}, ${machine.cores} cores, commit ${machine.commit}`);
process.exit(0);
