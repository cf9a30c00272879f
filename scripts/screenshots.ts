// npm run screenshots [-- --to docs/console]: takes the pictures of the console in the README and docs/console.md. The
// script starts a server on the real model, with the example adapters and a short training. With --url it uses a
// keyless server that runs already, to which it adds the example adapters under a few more names. Needs Chromium. Fails
// where a page logs an error, or never shows what it should; pictures are not compared.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Browser, chromium, type Page } from 'playwright-core';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({
  options: {
    to: { type: 'string', default: join(root, 'docs', 'console') },
    'data-dir': { type: 'string', default: join(root, '.lorikeet') },
    browser: { type: 'string', default: '/usr/bin/chromium' },
    url: { type: 'string' },
  },
});

/** A data dir of its own, so that no picture shows the user's data; the model's files come from the user's data dir. */
const folder = mkdtempSync(join(tmpdir(), 'lorikeet-screenshots-'));
const model = join(values['data-dir'], 'models', 'SmolLM2-135M-Instruct', 'SmolLM2-135M-Instruct.Q4_1.gguf');

function start(): ChildProcess {
  const command = ['--disable-warning=ExperimentalWarning', join(root, 'src/cli/main.ts'), 'serve', model];
  const settings = ['--port', '0', '--data-dir', folder, '--log-level', 'error'];
  // With the default priority a training would not end while other programs keep all cores busy.
  const env = { ...process.env, LORIKEET_TRAINING_PRIORITY: 'low' };
  return spawn(process.execPath, [...command, ...settings], { stdio: ['ignore', 'ignore', 'pipe'], env });
}

async function urlOf(server: ChildProcess): Promise<string> {
  let text = '';
  for await (const part of server.stderr!) {
    text += part;
    const url = /is ready at (\S+) after/.exec(text)?.[1];
    if (url !== undefined) {
      server.stderr!.resume();
      return url;
    }
  }
  throw new Error(`The server did not start:\n${text}`);
}

const json = { 'content-type': 'application/json' };

async function ask<T>(url: string, path: string, init: RequestInit = {}): Promise<T> {
  const answer = await fetch(url + path, init);
  if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
  return (await answer.json()) as T;
}

/** Uploads the example adapters under names as a team would choose, with versions and aliases. */
async function fill(url: string): Promise<void> {
  for (const [name, source] of [
    ['support/pirate', 'pirate'],
    ['support/tone', 'shell'],
    ['orders', 'order'],
    ['orders', 'pirate'],
    ['shell', 'shell'],
  ] as const) {
    const form = new FormData();
    form.append('name', name);
    for (const file of ['adapter_config.json', 'adapter_model.safetensors']) {
      form.append(file, new Blob([readFileSync(join(root, 'adapters', source, file))]), file);
    }
    await ask(url, '/v1/adapters', { method: 'POST', body: form });
  }
  const put = (path: string, body: object) =>
    ask(url, path, { method: 'PUT', headers: json, body: JSON.stringify(body) });
  await put('/v1/adapters/support%2Fpirate/aliases/prod', { version: 1 });
  await put('/v1/adapters/orders/aliases/prod', { weights: { 1: 0.9, 2: 0.1 } });
}

/**
 * Trains an adapter, unless a finished job exists.
 * @returns the job's id
 */
async function trained(url: string): Promise<string> {
  const jobs = await ask<{ data: { id: string; status: string }[] }>(url, '/v1/fine_tuning/jobs');
  return jobs.data.find(({ status }) => status === 'succeeded')?.id ?? (await train(url));
}

async function train(url: string): Promise<string> {
  const send = async (name: string) => {
    const form = new FormData();
    form.append('purpose', 'fine-tune');
    form.append('file', new Blob([readFileSync(join(root, 'adapters/pirate', name))]), name);
    return (await ask<{ id: string }>(url, '/v1/files', { method: 'POST', body: form })).id;
  };
  const body = {
    training_file: await send('train.jsonl'),
    validation_file: await send('held-out.jsonl'),
    suffix: 'support/pirate',
    method: { type: 'supervised', supervised: { hyperparameters: { max_steps: 24, r: 4, eval_steps: 4 } } },
  };
  const init = { method: 'POST', headers: json, body: JSON.stringify(body) };
  return (await ask<{ id: string }>(url, '/v1/fine_tuning/jobs', init)).id;
}

async function shoot(page: Page, name: string): Promise<void> {
  // Moves the pointer away, so that nothing is highlighted, and waits for animations to end.
  await page.mouse.move(0, 0);
  await page.waitForTimeout(600);
  await page.screenshot({ path: join(values.to, `${name}.png`) });
  process.stdout.write(`${name}.png\n`);
}

async function play(page: Page, url: string): Promise<void> {
  await page.goto(`${url}/console/#/playground?target=&target=support%2Fpirate%3Aprod&target=support%2Fpirate*0.5`);
  await page.getByRole('button', { name: 'Ask all' }).click();
  await page.waitForFunction(() => document.querySelectorAll('.column .facts dd').length >= 21);
  await page.getByRole('button', { name: 'Ask all' }).waitFor();
  await page.locator('.answer').nth(1).focus();
  for (let i = 0; i < 8; i++) await page.keyboard.press('ArrowRight');
}

async function shootAll(url: string, browser: Browser): Promise<void> {
  const problems: string[] = [];
  const open = async (colorScheme: 'light' | 'dark', width = 1280, height = 800) => {
    const page = await browser.newPage({ viewport: { width, height }, colorScheme });
    // No time limits here: the caller of the script bounds it as a whole.
    page.setDefaultTimeout(0);
    page.on('console', (message) => message.type() === 'error' && problems.push(message.text()));
    page.on('pageerror', (error) => problems.push(error.message));
    return page;
  };
  await fill(url);
  const page = await open('light');
  await play(page, url);
  await shoot(page, 'playground');
  await page.goto(`${url}/console/#/training/${await trained(url)}`);
  await page.getByText('succeeded').waitFor();
  await shoot(page, 'training');
  await page.goto(`${url}/console/#/adapters`);
  await page.getByRole('link', { name: 'orders' }).waitFor();
  await shoot(page, 'adapters');
  await page.goto(`${url}/console/#/adapters/orders/aliases`);
  await page.getByRole('slider', { name: 'Share of requests' }).waitFor();
  await shoot(page, 'aliases');
  await page.goto(`${url}/console/#/traffic`);
  await page.getByRole('region', { name: 'By adapter' }).waitFor();
  await asked(url);
  await page.getByRole('img', { name: /^Between tokens: median [\d.]+ m?s/ }).waitFor();
  await shoot(page, 'traffic');
  const dark = await open('dark');
  await dark.goto(`${url}/console/#/adapters/orders/analysis`);
  await dark.getByLabel('Compare directions with').fill('shell@1');
  await dark.getByRole('button', { name: 'Compare', exact: true }).click();
  await dark.getByRole('img', { name: /^phi of output/ }).waitFor();
  await shoot(dark, 'analysis');
  const phone = await open('dark', 390, 800);
  await play(phone, url);
  await shoot(phone, 'phone');
  if (problems.length > 0) throw new Error(`The pages complained:\n${problems.join('\n')}`);
}

/** Sends some requests to the base and to two adapters, so that the curves have points. */
async function asked(url: string): Promise<void> {
  const names = [undefined, 'support/pirate', 'shell'];
  for (let round = 0; round < 6; round++) {
    const bodies = names.map((name) => ({ adapter_id: name, prompt: 'The sea is', max_tokens: 24, ignore_eos: true }));
    const init = (body: object) => ({ method: 'POST', headers: json, body: JSON.stringify(body) });
    await Promise.all(bodies.map((body) => ask(url, '/v1/generate', init(body))));
  }
}

async function main(): Promise<void> {
  mkdirSync(values.to, { recursive: true });
  const server = values.url === undefined ? start() : null;
  const browser = await chromium.launch({
    executablePath: values.browser,
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
  try {
    await shootAll(values.url ?? (await urlOf(server!)), browser);
    process.stdout.write(`in ${values.to}\n`);
  } finally {
    await browser.close();
    if (server !== null) {
      server.kill('SIGTERM');
      if (server.exitCode === null) await once(server, 'exit');
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
