// Every view of a real server, with an operator's key: light and dark, on a wide screen and a phone, by keyboard alone.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import type { Browser, Page } from 'playwright-core';
import { places } from '../../src/console/views/places.ts';
import { cliIn } from '../helpers/run-cli.ts';
import { assertAccessible, openBrowser, openPage, type Watched, withoutBrowser } from './browser.ts';
import { type ConsoleServer, rowsOf, startConsoleServer, uploadTiny } from './console-server.ts';

const narrow = { width: 375, height: 720 };
const wide = { width: 1280, height: 860 };

let browser: Browser;
let server: ConsoleServer;
let key: string;
let job: string;
/** The server's routes: some of the operator's views need one that a server may not have. */
let paths: Record<string, unknown>;
before(async () => {
  if (withoutBrowser) return;
  [browser, server] = await Promise.all([openBrowser(), startConsoleServer()]);
  const scopes = 'generate,adapters,train,admin,metrics,operator';
  const made = await cliIn(server.folder)(['keys', 'create', '--scopes', scopes, '--json']);
  key = (JSON.parse(made.stdout) as { key: string }).key;
  for (const seed of [1, 2]) await uploadTiny(server.url, 'wren', seed, key);
  await ask('PUT', '/v1/adapters/wren/aliases/prod', { version: 1 });
  await ask('POST', '/v1/generate', { adapter_id: 'wren', prompt: 'bird', max_tokens: 4 });
  await ask('PUT', '/v1/admin/tenants/acme', { quota: { weight: 2 } });
  await ask('POST', '/v1/admin/adapters/wren/merge', { bits: 32 });
  job = await trained();
  ({ paths } = await ask<{ paths: Record<string, unknown> }>('GET', '/openapi.json'));
});
after(async () => {
  await browser?.close();
  await server?.close();
});

const options = { skip: withoutBrowser };

async function ask<T>(method: string, path: string, body?: object | FormData): Promise<T> {
  const isForm = body instanceof FormData;
  const answer = await fetch(server.url + path, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(body && !isForm ? { 'content-type': 'application/json' } : {}) },
    ...(body ? { body: isForm ? body : JSON.stringify(body) } : {}),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${await answer.text()}`);
  return (await answer.json()) as T;
}

/**
 * Trains an adapter.
 * @returns the id of the finished job
 */
async function trained(): Promise<string> {
  const form = new FormData();
  form.append('purpose', 'fine-tune');
  form.append('file', new Blob([rowsOf(4)]), 'rows.jsonl');
  const { id: file } = await ask<{ id: string }>('POST', '/v1/files', form);
  const method = { type: 'supervised', supervised: { hyperparameters: { max_steps: 4, checkpoint_steps: 2 } } };
  const made = await ask<{ id: string }>('POST', '/v1/fine_tuning/jobs', {
    ...{ training_file: file, suffix: 'robin', method },
  });
  const state = async () => (await ask<{ status: string }>('GET', `/v1/fine_tuning/jobs/${made.id}`)).status;
  for (let is = await state(); is !== 'succeeded'; is = await state()) {
    assert.notEqual(is, 'failed');
    await wait(100);
  }
  return made.id;
}

/** Addresses of all views, each with a selector of what shows that it has loaded. */
const views = (): Record<string, string> => ({
  adapters: 'table',
  'adapters/wren': '[aria-label="wren@2"]',
  'adapters/wren/aliases': '[aria-label="wren:prod"]',
  'adapters/wren/analysis': '.heat',
  'playground?target=&target=wren%402': '.column',
  training: 'table',
  'training/new': 'form, .cards',
  [`training/${job}`]: '[data-testid=loss] canvas',
  [`training/overlay?job=${job}&job=${job}`]: 'canvas',
  traffic: '[aria-label="By adapter"] table',
  usage: '[aria-label="By adapter"] table',
  keys: 'table',
  tenants: 'table',
  settings: 'table',
  audit: 'table',
  ...('/v1/admin/replicas' in paths ? { replicas: 'table' } : {}),
  'no/such/view': '.empty',
});

async function signedIn(): Promise<Watched> {
  const watched = await openPage(browser, { ...narrow, scheme: 'dark' });
  await watched.page.addInitScript((given) => sessionStorage.setItem('lorikeet-key', given), key);
  return watched;
}

async function show(page: Page, view: string, shown: string): Promise<void> {
  await page.goto(`${server.url}/console/#/${view}`);
  await page.locator(shown).first().waitFor();
}

test('every view is among those that are looked at', options, () => {
  const named = new Set(Object.keys(views()).map((view) => view.split(/[/?]/)[0]!));
  for (const { name, needs } of places) assert.equal(named.has(name), needs === undefined || needs in paths, name);
});

test(
  'every view, light and dark, wide and on a phone: nothing is denied, cut off or hard to read',
  options,
  async () => {
    const { page, problems } = await signedIn();
    for (const [view, shown] of Object.entries(views())) {
      await show(page, view, shown);
      const across = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(across <= narrow.width, `${view} is ${across} pixels wide on a phone`);
      await assertAccessible(page);
      await page.setViewportSize(wide);
      await page.emulateMedia({ colorScheme: 'light' });
      await assertAccessible(page);
      await page.setViewportSize(narrow);
      await page.emulateMedia({ colorScheme: 'dark' });
      assert.deepEqual(problems, [], view);
    }
    await page.context().close();
  },
);

/** Finds the visible elements that take the focus. Of a group of radio buttons that is the chosen one. */
const reachable = `[...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex="0"]')]
  .filter((one) => !one.disabled && one.closest('[inert]') === null)
  .filter((one) => one.checkVisibility({ visibilityProperty: true }))
  .filter((one) => one.type !== 'radio' || one.checked || !document.querySelector(\`[name="\${one.name}"]:checked\`))`;

test('every view by the keyboard alone: all is reached, in order, and one sees where one is', options, async () => {
  const { page, problems } = await signedIn();
  await page.setViewportSize(wide);
  for (const [view, shown] of Object.entries(views())) {
    await show(page, view, shown);
    await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
    const count = (await page.evaluate(`(${reachable}).length`)) as number;
    for (let presses = 0; presses < 2 * count + 10; presses++) {
      await page.keyboard.press('Tab');
      const at = await page.evaluate(() => {
        const one = document.activeElement;
        if (one === null || one === document.body) return null;
        one.setAttribute('data-reached', '');
        const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(one);
        const isSeen = (outlineStyle !== 'none' && outlineWidth !== '0px') || boxShadow !== 'none';
        return { isSeen, html: one.outerHTML.slice(0, 200) };
      });
      if (at === null) break;
      assert.ok(at.isSeen, `${view}: it is not seen that this has the focus: ${at.html}`);
    }
    // A view that reads again may have replaced an element meanwhile.
    const missed = (await page.evaluate(
      `(${reachable}).filter((one) => !one.hasAttribute('data-reached')).map((one) => one.outerHTML.slice(0, 200))`,
    )) as string[];
    assert.deepEqual(missed, [], view);
  }
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('by the keyboard alone an adapter is found, a canary begun, and both versions are asked', options, async () => {
  const { page, problems } = await signedIn();
  await page.setViewportSize(wide);
  const { keyboard } = page;
  const tabTo = async (name: string | RegExp, role: 'link' | 'button' | 'textbox' | 'slider' | 'searchbox') => {
    const wanted = page.getByRole(role, { name }).first();
    await wanted.waitFor();
    for (let presses = 0; presses < 200; presses++) {
      if (await wanted.evaluate((one) => one === document.activeElement)) return;
      await keyboard.press('Tab');
    }
    assert.fail(`${name} is not reached`);
  };
  await show(page, 'adapters', 'table');
  await tabTo('Search adapters', 'searchbox');
  await keyboard.type('wren');
  await tabTo('wren', 'link');
  await keyboard.press('Enter');
  await tabTo('Aliases', 'link');
  await keyboard.press('Enter');
  await tabTo('Share of requests', 'slider');
  for (let i = 0; i < 10; i++) await keyboard.press('ArrowRight');
  await tabTo('Apply', 'button');
  await keyboard.press('Enter');
  await page.getByText('v1 90 %, v2 10 %', { exact: false }).first().waitFor();
  await tabTo('Compare with base', 'link');
  await keyboard.press('Enter');
  await tabTo('Message', 'textbox');
  await keyboard.type('Hi');
  await tabTo('Ask all', 'button');
  await keyboard.press('Enter');
  await page
    .getByRole('region', { name: 'wren@2' })
    .getByText(/^(length|stop)$/)
    .waitFor();
  assert.deepEqual(problems, []);
  await page.context().close();
});
