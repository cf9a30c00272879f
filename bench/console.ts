// npm run bench:console [-- --rounds 6] [--save]: measures what an open page of the console costs those who are served.
// The page on the traffic view sends the most requests. They are recorded from a browser, then sent again from here
// `--speed` times as fast while 16 streams run, in turns with seconds without them. The browser's own work is not
// measured, since it is done on another machine. Needs Chromium.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { loadConfig } from '../src/config.ts';
import { modelSources } from '../src/main/model.ts';
import { resolveModel } from '../src/models/resolve.ts';
import { describeMachine } from './machine.ts';
import { promptOf } from './prompt-of.ts';
import { quantile } from './statistics.ts';
import { startStrained } from './strain/server.ts';

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    browser: { type: 'string', default: '/usr/bin/chromium' },
    rounds: { type: 'string', default: '6' },
    /** How many times as fast the page's requests are sent, which stands for as many open pages. */
    speed: { type: 'string', default: '10' },
    'turn-ms': { type: 'string', default: '8000' },
    save: { type: 'boolean', default: false },
  },
});
const streams = 16;
const watchMs = 30_000;
const [speed, turnMs] = [Number(flags.speed), Number(flags['turn-ms'])];
const { config } = loadConfig(flags.model === undefined ? {} : { model: flags.model });
const model = await resolveModel(config.model, { ...modelSources(config), log: console.error });
const server = await startStrained(flags.model ?? model.weights[0]!, config.dataDir);
const [key] = server.keys;

type Sent = { readonly atMs: number; readonly path: string };

/** Records what the page requests once it has loaded. */
async function requestsOfPage(): Promise<Sent[]> {
  const browser = await chromium.launch({ executablePath: flags.browser, args: ['--no-sandbox'] });
  const page = await browser.newPage();
  await page.addInitScript((given) => sessionStorage.setItem('lorikeet-key', given), key);
  await page.goto(`${server.url}/console/#/traffic`);
  await page.getByRole('heading', { name: 'Traffic' }).waitFor();
  await wait(5000);
  const sent: Sent[] = [];
  const began = performance.now();
  page.on('request', (request) => {
    sent.push({ atMs: performance.now() - began, path: request.url().slice(server.url.length) });
  });
  await wait(watchMs);
  await browser.close();
  return sent;
}

let tokens = 0;
async function stream(seed: number): Promise<void> {
  const body = { prompt: promptOf(seed, 32), max_tokens: 400, temperature: 0, ignore_eos: true, stream: true };
  const answer = await fetch(`${server.url}/v1/generate`, {
    ...{ method: 'POST', body: JSON.stringify(body) },
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
  });
  const decoder = new TextDecoder();
  for await (const chunk of answer.body!) tokens += decoder.decode(chunk, { stream: true }).split('"token"').length - 1;
}

/** Tokens a second of the streams during one turn, in which the requests are sent. */
async function turn(sent: readonly Sent[]): Promise<number> {
  const began = performance.now();
  const before = tokens;
  const asked = (async () => {
    for (let round = 0; sent.length > 0; round++) {
      for (const { atMs, path } of sent) {
        const early = (round * watchMs + atMs) / speed - (performance.now() - began);
        if (performance.now() - began + Math.max(0, early) > turnMs) return;
        if (early > 0) await wait(early);
        const answer = await fetch(server.url + path, { headers: { authorization: `Bearer ${key}` } });
        await answer.arrayBuffer();
      }
    }
  })();
  await Promise.all([asked, wait(turnMs)]);
  return ((tokens - before) * 1000) / (performance.now() - began);
}

const sent = await requestsOfPage();
const counts = Map.groupBy(sent, ({ path }) => path);
for (const [path, some] of counts) console.log(`${path}: ${some.length} in ${watchMs / 1000} s`);
let isOver = false;
let seed = 1;
const streaming = Array.from({ length: streams }, async () => {
  while (!isOver) await stream(seed++);
});
await wait(5000);
const ratios: number[] = [];
for (let round = 0; round < Number(flags.rounds); round++) {
  // The order alternates from round to round.
  const first = await turn(round % 2 === 0 ? [] : sent);
  const second = await turn(round % 2 === 0 ? sent : []);
  const [without, beside] = round % 2 === 0 ? [first, second] : [second, first];
  ratios.push(beside / without);
  console.log(
    `${without.toFixed(1)} tokens/s, ${beside.toFixed(1)} beside ${speed} pages: ${(beside / without).toFixed(3)}`,
  );
}
isOver = true;
const cost = (1 - quantile(ratios, 0.5)) / speed;
console.log(`one page costs ${(cost * 100).toFixed(2)} % of the tokens (median of ${ratios.length} rounds)`);
const machine = describeMachine();
if (flags.save) {
  const name = `${new Date().toISOString().slice(0, 10)}-console.json`;
  const requests = Object.fromEntries([...counts].map(([path, some]) => [path, some.length]));
  const result = { machine, streams, speed, watchMs, requests, ratios, cost };
  writeFileSync(join(fileURLToPath(new URL('results', import.meta.url)), name), `${JSON.stringify(result, null, 2)}\n`);
}
void streaming;
await server.stop();
process.exit(0);
