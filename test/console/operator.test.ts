// The operator's views, which are shown only where the server has their routes. The tests answer these routes
// themselves, so that the views are also tested on servers without them.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { assertAccessible, openBrowser, openPage, withoutBrowser } from './browser.ts';
import { type ConsoleServer, startConsoleServer } from './console-server.ts';

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
const seconds = 1_790_000_000;

const key = {
  id: '0123456789ab',
  tenant: 'acme',
  name: 'the shop',
  scopes: ['generate', 'train'],
  adapters: ['acme/*'],
  created_at: seconds,
  expires_at: null,
  revoked_at: null,
  last_used_at: seconds,
  replaced_by: null,
};
const listOf = (data: readonly object[]) => ({ object: 'list', data, has_more: false, last_id: null, next_page: null });
const answers: Readonly<Record<string, object>> = {
  '/v1/admin/keys': listOf([key]),
  '/v1/admin/tenants': listOf([
    { id: 'acme', object: 'tenant', created_at: null, disabled_at: null, quota: { weight: 2, rps: 5 } },
    { id: 'other', object: 'tenant', created_at: null, disabled_at: seconds, quota: null },
  ]),
  '/v1/admin/audit': listOf([
    {
      ...{ id: '7', at: seconds, tenant: 'acme', actor: key.id, ip: '127.0.0.1', action: 'aliases.set' },
      ...{ target: 'wren:prod', before: { version: 1 }, after: { version: 2 } },
    },
  ]),
  '/v1/admin/replicas': listOf([
    {
      ...{ id: 'first-of-two', object: 'replica', is_this: true, started_at: seconds, lease_seconds: 4.2 },
      ...{ changes_behind: 0, deletions_waiting: 0, status: { host: 'one', engine: 'ready', running: 3 } },
    },
    {
      ...{ id: 'second-of-two', object: 'replica', is_this: false, started_at: seconds, lease_seconds: -70 },
      ...{ changes_behind: 12, deletions_waiting: 1, status: { host: 'two' } },
    },
  ]),
  '/v1/usage': listOf(
    [0, 1, 2].map((minute) => ({
      ...{ start_time: seconds + minute * 60, adapter_digest: minute === 1 ? `sha256:${'ab'.repeat(32)}` : null },
      ...{ requests: 3, prompt_tokens: 40, cached_tokens: 8, completion_tokens: 90, trained_tokens: 0 },
    })),
  ),
};

/**
 * Answers the operator's routes.
 * @returns the requests that were sent to them: method, path, body
 */
async function offer(page: Page): Promise<string[]> {
  const sent: string[] = [];
  await page.route('**/openapi.json', async (route) => {
    const paths = Object.fromEntries(Object.keys(answers).map((path) => [path, {}]));
    await route.fulfill({ json: { paths } });
  });
  for (const [path, answer] of Object.entries(answers)) {
    await page.route(
      (url) => url.pathname === path || url.pathname.startsWith(`${path}/`),
      async (route) => {
        const request = route.request();
        const method = request.method();
        if (method === 'GET') return route.fulfill({ json: answer });
        sent.push(`${method} ${new URL(request.url()).pathname} ${request.postData() ?? ''}`.trim());
        await route.fulfill({ json: { ...key, id: 'ba9876543210', key: 'lk_ba9876543210_secret' } });
      },
    );
  }
  return sent;
}

test('what the server has no routes for is not offered', options, async () => {
  const { paths } = (await (await fetch(`${server.url}/openapi.json`)).json()) as { paths: Record<string, unknown> };
  const { page, problems } = await openPage(browser);
  const asked = page.waitForResponse('**/openapi.json');
  await page.goto(`${server.url}/console/`);
  await asked;
  await page.getByRole('link', { name: 'Traffic' }).waitFor();
  for (const [path, title] of [
    ['/v1/admin/keys', 'Keys'],
    ['/v1/admin/tenants', 'Tenants'],
    ['/v1/admin/audit', 'Audit'],
    ['/v1/usage', 'Usage'],
    ['/v1/admin/replicas', 'Replicas'],
  ] as const) {
    const links = page.getByRole('navigation').getByRole('link', { name: title });
    if (path in paths) await links.waitFor();
    else assert.equal(await links.count(), 0, title);
  }
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('keys are made, shown once, rotated and revoked', options, async () => {
  const { page, problems } = await openPage(browser);
  const sent = await offer(page);
  await page.goto(`${server.url}/console/`);
  await page.getByRole('link', { name: 'Keys' }).click();
  const row = page.getByRole('row', { name: /0123456789ab/ });
  await row.getByText('acme/*').waitFor();
  await assertAccessible(page);
  await page.getByRole('button', { name: 'New key' }).click();
  await page.getByLabel('Tenant').fill('acme');
  await page.getByLabel('train').check();
  await page.getByRole('textbox', { name: 'Adapters' }).fill('acme/*');
  await assertAccessible(page);
  await page.getByRole('button', { name: 'Make the key' }).click();
  await page.getByText('lk_ba9876543210_secret').waitFor();
  await assertAccessible(page);
  await page.keyboard.press('Escape');
  await page.getByText('lk_ba9876543210_secret').waitFor({ state: 'detached' });
  await row.getByRole('button', { name: 'Rotate' }).click();
  await page.getByText('lk_ba9876543210_secret').waitFor();
  await page.keyboard.press('Escape');
  await row.getByRole('button', { name: 'Revoke' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
  await page.getByText('Key 0123456789ab is revoked.').waitFor();
  assert.deepEqual(sent, [
    'POST /v1/admin/keys {"tenant":"acme","name":"","scopes":["generate","train"],"adapters":["acme/*"]}',
    'POST /v1/admin/keys/0123456789ab/rotate {}',
    'DELETE /v1/admin/keys/0123456789ab',
  ]);
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('tenants, audit, usage and replicas are shown', options, async () => {
  const { page, problems } = await openPage(browser, { scheme: 'dark' });
  const sent = await offer(page);
  await page.goto(`${server.url}/console/#/tenants`);
  await page.getByText('weight 2, rps 5').waitFor();
  await assertAccessible(page);
  await page.getByRole('row', { name: /^acme/ }).getByRole('button', { name: 'Refuse its keys' }).click();
  await page.getByText('Keys of acme are refused.').waitFor();
  assert.deepEqual(sent, ['PUT /v1/admin/tenants/acme {"disabled":true}']);
  await page.getByRole('link', { name: 'Audit' }).click();
  await page.getByText('aliases.set').waitFor();
  await page.getByText('Before and after').click();
  await page.getByText('"version": 2').waitFor();
  await assertAccessible(page);
  await page.getByRole('link', { name: 'Usage' }).click();
  await page.getByRole('img', { name: 'Tokens a minute: generated 90, prompts 40' }).waitFor();
  await page.getByRole('row', { name: /^abababab 3 40 8 90 0/ }).waitFor();
  await assertAccessible(page);
  await page.getByRole('link', { name: 'Replicas' }).click();
  const first = page.getByRole('row', { name: /^first-of/ });
  for (const text of ['answers here', 'lives', 'ready']) await first.getByText(text).waitFor();
  const second = page.getByRole('row', { name: /^second-o/ });
  for (const text of ['silent for 1 min 10 s', '12', 'two']) await second.getByText(text, { exact: true }).waitFor();
  await assertAccessible(page);
  assert.deepEqual(problems, []);
  await page.context().close();
});
