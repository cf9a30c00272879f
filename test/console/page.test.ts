// The page: its size and speed, its policy, a thousand adapters, keys, phones, themes.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { cliIn } from '../helpers/run-cli.ts';
import { assertAccessible, openBrowser, openPage, withoutBrowser } from './browser.ts';
import { type ConsoleServer, startConsoleServer, uploadTiny } from './console-server.ts';

const adapters = 1000;
const uploadsAtOnce = 4;
const firstViewBytesMax = 150_000;

let browser: Browser;
let server: ConsoleServer;
before(async () => {
  if (withoutBrowser) return;
  [browser, server] = await Promise.all([openBrowser(), startConsoleServer()]);
});
after(async () => {
  await browser?.close();
  await server?.close();
});

const options = { skip: withoutBrowser };
const rows = (page: Page) => page.getByRole('table', { name: 'Adapters' }).locator('tbody tr:not(.gap)');

test('the first view is light', options, async (t) => {
  await uploadTiny(server.url, 'wren', 1);
  const times: number[] = [];
  let bytes = 0;
  for (let load = 0; load < 4; load++) {
    const { page, problems } = await openPage(browser);
    const began = performance.now();
    await page.goto(`${server.url}/console/`);
    await page.getByRole('link', { name: 'wren' }).waitFor();
    times.push(performance.now() - began);
    bytes = await page.evaluate(() =>
      (performance.getEntries() as PerformanceResourceTiming[])
        .filter(({ entryType }) => ['navigation', 'resource'].includes(entryType))
        .reduce((sum, { transferSize }) => sum + transferSize, 0),
    );
    assert.deepEqual(problems, []);
    await page.context().close();
  }
  t.diagnostic(`first view: ${bytes} bytes, ${times.map(Math.round).join(', ')} ms`);
  assert.ok(bytes > 10_000 && bytes <= firstViewBytesMax, `${bytes} bytes`);
});

test('what is not the page stays outside of it', options, async () => {
  const { headers } = await fetch(`${server.url}/console/`);
  const policy = headers.get('content-security-policy')!;
  assert.match(policy, /^default-src 'none'; script-src 'self' 'sha256-[^']+'; style-src 'self';/);
  assert.doesNotMatch(policy, /unsafe|https?:|\*/);
  assert.equal((await fetch(`${server.url}/console`, { redirect: 'manual' })).headers.get('location'), '/console/');

  const { page, problems } = await openPage(browser);
  await page.goto(`${server.url}/console/`);
  await page.getByRole('link', { name: 'wren' }).waitFor();
  const foreign = await page.evaluate(() =>
    performance.getEntriesByType('resource').filter(({ name }) => !name.startsWith(location.origin)),
  );
  assert.deepEqual(foreign, []);
  // An inline script that gets into the page must not run.
  await page.evaluate(() => {
    const script = document.createElement('script');
    script.textContent = 'document.title = "taken over"';
    document.body.append(script);
  });
  assert.match(await page.title(), /^Adapters/);
  assert.match(problems.join(), /Content Security Policy/);
  await page.context().close();
});

test('each answer of /readyz has a word and a colour', options, async () => {
  const { page, problems } = await openPage(browser, { refusals: [503] });
  const states = [
    { status: 'ok', reasons: [], word: 'ready' },
    { status: 'degraded', reasons: ['registry_stale'], word: 'registry stale' },
    { status: 'degraded', reasons: [], word: 'degraded' },
    { status: 'unavailable', reasons: ['engine_starting'], word: 'engine starting' },
  ];
  for (const { word, ...json } of states) {
    await page.route('**/readyz', (route) =>
      route.fulfill({ status: json.status === 'unavailable' ? 503 : 200, json }),
    );
    await page.goto(`${server.url}/console/`);
    const state = page.locator('.server', { hasText: new RegExp(`^${word}$`) });
    await state.waitFor();
    const colours = await state.evaluate((element) => {
      const bare = document.createElement('span');
      bare.className = 'server';
      element.after(bare);
      const found = [element, bare].map((one) => getComputedStyle(one, '::before').backgroundColor);
      bare.remove();
      return found;
    });
    assert.notEqual(colours[0], colours[1], word);
    await page.unroute('**/readyz');
  }
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('files are served by their own names only', options, async () => {
  const html = await (await fetch(`${server.url}/console/`)).text();
  const main = /src="(assets\/[0-9a-f]+\/)main\.ts"/.exec(html)![1]!;
  const get = (path: string, headers = {}) => fetch(`${server.url}/console/${path}`, { headers });
  const script = await get(`${main}main.ts`, { 'accept-encoding': 'identity' });
  assert.equal(script.headers.get('content-type'), 'text/javascript; charset=utf-8');
  assert.match(script.headers.get('cache-control')!, /immutable/);
  assert.equal(script.headers.get('content-encoding'), null);
  assert.doesNotMatch(await script.text(), /: string/);
  const others = ['../../main.ts', '%2e%2e/main.ts', '..%2f..%2fpackage.json', 'tsconfig.json', 'lib/preact/nothing'];
  for (const path of others) assert.equal((await get(`${main}${path}`)).status, 404, path);
  assert.equal((await get('assets/0000000000000000/main.ts')).status, 404);
});

declare const watched: { longTasks: number[]; keys: number[] };

/** Runs in the page: records tasks that block it, and the time until a key press is visible. */
function watchWork(): void {
  const seen = { longTasks: [] as number[], keys: [] as number[] };
  Object.assign(globalThis, { watched: seen });
  const watch = (type: string, into: number[], options: object) =>
    new PerformanceObserver((list) => into.push(...list.getEntries().map(({ duration }) => duration))).observe({
      type,
      ...options,
    });
  watch('longtask', seen.longTasks, {});
  watch('event', seen.keys, { durationThreshold: 16 });
}

test('a thousand adapters are listed, found and scrolled through smoothly', options, async (t) => {
  const names = Array.from({ length: adapters }, (_, i) => `many/bird-${String(i).padStart(4, '0')}`);
  const left = [...names];
  const uploadAll = async () => {
    for (let name = left.pop(); name !== undefined; name = left.pop()) await uploadTiny(server.url, name, 7);
  };
  await Promise.all(Array.from({ length: uploadsAtOnce }, uploadAll));
  const { page, problems } = await openPage(browser);
  await page.goto(`${server.url}/console/`);
  await page.getByText('1,001 adapters').waitFor();
  assert.ok((await rows(page).count()) < 80, 'only rows near the screen are in the page');
  await page.evaluate(watchWork);
  const frames = await page.evaluate(async () => {
    const gaps: number[] = [];
    const end = document.documentElement.scrollHeight;
    let last = await new Promise<number>(requestAnimationFrame);
    for (let y = 0; y < end; y += 400) {
      scrollTo(0, y);
      const now = await new Promise<number>(requestAnimationFrame);
      gaps.push(now - last);
      last = now;
    }
    return gaps.sort((a, b) => a - b);
  });
  const middle = frames[Math.floor(frames.length / 2)]!;
  t.diagnostic(`${frames.length} frames: median ${middle.toFixed(1)} ms, longest ${frames.at(-1)!.toFixed(1)} ms`);
  await page.getByRole('link', { name: 'wren' }).waitFor();
  const scrolled = await page.evaluate(() => watched.longTasks.splice(0));
  await page.getByLabel('Search adapters').pressSequentially('bird-0777');
  await page.getByRole('link', { name: 'many/bird-0777' }).waitFor();
  const typed = await page.evaluate(() => watched);
  const longest = (times: readonly number[]) => `${times.length}, longest ${Math.max(0, ...times).toFixed(0)} ms`;
  t.diagnostic(`tasks above 50 ms: ${longest(scrolled)} while scrolling, ${longest(typed.longTasks)} while typing`);
  t.diagnostic(`from a key to what it changes on the screen, where above 16 ms: ${longest(typed.keys)}`);
  assert.equal(await rows(page).count(), 1);
  await page.getByLabel('Search adapters').fill('no such bird');
  await page.getByText('None of 1,001 adapters has "no such bird"').waitFor();
  await assertAccessible(page);
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('what an open view asks for costs the server little', options, async (t) => {
  const rounds = 200;
  const costOf = async (path: string) => {
    const began = server.cpuMs();
    for (let i = 0; i < rounds; i++) await (await fetch(server.url + path)).text();
    return (server.cpuMs() - began) / rounds;
  };
  // The requests of the traffic view, which asks most: metrics every 2 seconds, merges every 3, readiness every 5.
  const [metrics, merges, probe] = [
    await costOf('/metrics'),
    await costOf('/v1/admin/merges'),
    await costOf('/readyz'),
  ];
  const share = (metrics / 2 + merges / 3 + probe / 5) / 1000;
  t.diagnostic(
    `metrics ${metrics} ms, merges ${merges} ms, probe ${probe} ms: ${(share * 100).toFixed(2)} % of a core`,
  );
  assert.ok(share > 0 && Number.isFinite(share));
});

test('on a phone, by the keyboard, in both themes', options, async () => {
  const { page, problems } = await openPage(browser, { width: 375, height: 720, scheme: 'dark' });
  for (const view of ['adapters', 'adapters/wren', 'playground', 'training', 'training/new', 'traffic']) {
    await page.goto(`${server.url}/console/#/${view}`);
    await page.getByRole('heading', { level: 1 }).waitFor();
    await page.waitForTimeout(400);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= 375, `${view} is ${wide} pixels wide`);
    await assertAccessible(page);
  }
  await page.getByRole('button', { name: 'Theme: system' }).click();
  await page.getByRole('button', { name: 'Theme: light' }).waitFor();
  await assertAccessible(page);
  await page.keyboard.press('Tab');
  await page.goto(`${server.url}/console/#/adapters`);
  await page.getByRole('heading', { level: 1, name: 'Adapters' }).waitFor();
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  await page.keyboard.press('Tab');
  await page.getByRole('link', { name: 'Skip to the view' }).press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement?.id), 'view');
  assert.deepEqual(problems, []);
  await page.context().close();
});

// The last test: the first key closes the server to callers without one.
test('a key is asked for, kept in the tab alone, and a revoked one is said to be refused', options, async () => {
  const run = cliIn(server.folder);
  const made = async (scopes: string) => {
    const { stdout } = await run(['keys', 'create', '--scopes', scopes, '--json']);
    return JSON.parse(stdout) as { key: string; prefix: string };
  };
  const key = await made('generate,adapters,train');
  const { page, problems } = await openPage(browser, { refusals: [401, 403] });
  await page.goto(`${server.url}/console/`);
  const field = page.getByLabel('API key');
  await field.fill('lk_wrong');
  await field.press('Enter');
  await page.getByText('The server does not take this key: it is wrong or revoked.').waitFor();
  await assertAccessible(page);
  await field.fill(key.key);
  await field.press('Enter');
  await page.getByText('1,001 adapters').waitFor();
  await page.getByRole('button', { name: `Forget key ${key.prefix}` }).waitFor();

  // A view that the key may not read says so, and the others work.
  await page.getByRole('link', { name: 'Traffic' }).click();
  await page.getByText("The API key lacks the scope 'metrics'.").waitFor();
  await page.getByRole('link', { name: 'Adapters' }).click();

  // Only this tab's own storage has the key: no other tab, and no other storage.
  const other = await page.context().newPage();
  await other.goto(`${server.url}/console/`);
  await other.getByLabel('API key').waitFor();
  const kept = await page.evaluate(() => JSON.stringify({ ...localStorage }) + document.cookie + location.href);
  assert.ok(!kept.includes(key.prefix));
  await page.reload();
  await page.getByText('1,001 adapters').waitFor();

  assert.equal((await run(['keys', 'revoke', key.prefix])).code, 0);
  await page.getByLabel('Search adapters').fill('wren');
  await page.getByRole('link', { name: 'wren' }).click();
  await page.getByText('The server does not take this key: it is wrong or revoked.').waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.getItem('lorikeet-key')), null);
  assert.deepEqual(problems, []);
  await page.context().close();
});
