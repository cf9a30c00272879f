// Adapters in the console: uploaded by drop, refused with reason, promoted, split, rolled back, analysed.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Browser } from 'playwright-core';
import { assertAccessible, drop, openBrowser, openPage, withoutBrowser } from './browser.ts';
import { adapterFiles, type ConsoleServer, startConsoleServer, uploadTiny } from './console-server.ts';

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
const aliasOf = async (name: string, alias: string) =>
  (await (await fetch(`${server.url}/v1/adapters/${name}/aliases/${alias}`)).json()) as {
    targets: { version: number; weight: number }[];
  };

test('without adapters it says what to do', options, async () => {
  const { page, problems } = await openPage(browser);
  await page.goto(`${server.url}/console/`);
  await page.getByRole('heading', { name: 'No adapters yet' }).waitFor();
  await assertAccessible(page);
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('a dropped folder becomes an adapter, and a broken one is refused with the reason', options, async () => {
  const { page, problems } = await openPage(browser, { refusals: [400] });
  await page.goto(`${server.url}/console/`);
  await page.getByRole('heading', { name: 'No adapters yet' }).waitFor();

  // Files may be dropped anywhere on the view.
  await drop(page, '.whole', adapterFiles(1, { bias: 'all' }));
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name').fill('team/bird');
  await dialog.getByRole('button', { name: 'Upload' }).click();
  const refusal = dialog.getByRole('alert');
  await refusal.getByText('bias').first().waitFor();
  assert.match((await refusal.textContent()) ?? '', /adapter_(unsupported|invalid)/);
  await assertAccessible(page);

  // Files that are dropped into the dialog replace the refused ones.
  await drop(page, 'dialog .drop', adapterFiles(1));
  await refusal.waitFor({ state: 'detached' });
  await dialog.getByRole('button', { name: 'Upload' }).click();
  await page.getByRole('link', { name: 'team/bird' }).waitFor();
  await page.getByText('team/bird@1 is ready.').waitFor();

  await drop(page, '.whole', { 'adapter_config.json': adapterFiles(1)['adapter_config.json']! });
  await dialog.getByText('Not among the files: adapter_model.safetensors.').waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('a version is promoted, a canary started, and both are rolled back', options, async () => {
  for (const seed of [1, 2, 3]) await uploadTiny(server.url, 'wren', seed);
  const { page, problems } = await openPage(browser);
  await page.goto(`${server.url}/console/#/adapters/wren`);
  const version = (id: string) => page.getByRole('region', { name: id, exact: true });
  const dialog = page.getByRole('dialog');

  await version('wren@1').getByRole('button', { name: 'Promote' }).click();
  await dialog.getByText('wren:prod will be new.').waitFor();
  await dialog.getByRole('button', { name: 'Promote' }).click();
  await version('wren@1').getByText('prod').waitFor();
  await version('wren@3').getByRole('button', { name: 'Promote' }).click();
  await dialog.getByText('wren:prod is v1 now.').waitFor();
  await assertAccessible(page);
  await dialog.getByRole('button', { name: 'Promote' }).click();
  await version('wren@3').getByText('prod').waitFor();
  assert.deepEqual((await aliasOf('wren', 'prod')).targets, [{ version: 3, weight: 1 }]);

  // The rollback goes to the version that the alias had before, and not to the next lower one.
  await page.getByRole('link', { name: 'Aliases' }).click();
  await page.getByRole('button', { name: 'Roll back to v1' }).click();
  await page.getByText('wren:prod is v1.').nth(1).waitFor();
  assert.deepEqual((await aliasOf('wren', 'prod')).targets, [{ version: 1, weight: 1 }]);

  await page.getByLabel('Canary').selectOption('2');
  await page.getByRole('slider', { name: 'Share of requests' }).fill('20');
  await page.getByRole('button', { name: 'Apply' }).click();
  // The slider says 20 % before anything has moved.
  await page.getByText('wren:prod is v1 80 %, v2 20 %.').first().waitFor();
  const { targets } = await aliasOf('wren', 'prod');
  assert.deepEqual(Object.fromEntries(targets.map((one) => [one.version, one.weight])), { 1: 0.8, 2: 0.2 });
  await assertAccessible(page);
  await page.getByRole('button', { name: 'Undo' }).last().click();
  await page.getByRole('button', { name: 'Roll back to v1 80 %, v2 20 %' }).waitFor();
  assert.deepEqual((await aliasOf('wren', 'prod')).targets, [{ version: 1, weight: 1 }]);
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('what somebody else moved meanwhile is not moved over', options, async () => {
  for (const seed of [1, 2]) await uploadTiny(server.url, 'finch', seed);
  const put = (version: number) =>
    fetch(`${server.url}/v1/adapters/finch/aliases/prod`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ version }),
    });
  await put(2);
  const { page, problems } = await openPage(browser, { refusals: [412] });
  await page.goto(`${server.url}/console/#/adapters/finch/aliases`);
  const back = page.getByRole('button', { name: 'Roll back to v1' });
  await back.waitFor();
  await put(1);
  await put(2);
  await back.click();
  await page.getByRole('alert').getByText('alias_changed').waitFor();
  assert.deepEqual((await aliasOf('finch', 'prod')).targets, [{ version: 2, weight: 1 }]);
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('what a version changes is drawn, alone and beside another', options, async () => {
  const { page, problems } = await openPage(browser, { scheme: 'dark' });
  await page.goto(`${server.url}/console/#/adapters/wren/analysis`);
  await page.getByRole('img', { name: 'Norm of the change of each linear' }).waitFor();
  await page.getByRole('img', { name: /^Singular values of q_proj/ }).waitFor();
  await page.getByLabel('Compare directions with').fill('wren@1');
  await page.getByRole('button', { name: 'Compare', exact: true }).click();
  await page.getByRole('img', { name: 'phi of input directions of wren@3 and wren@1' }).waitFor();
  await assertAccessible(page);
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('a name and a version are deleted only after a second question', options, async () => {
  await uploadTiny(server.url, 'gone', 1);
  await uploadTiny(server.url, 'gone', 2);
  const { page, problems } = await openPage(browser);
  await page.goto(`${server.url}/console/#/adapters/gone`);
  await page.getByRole('button', { name: 'Delete gone@1' }).click();
  await page.getByRole('button', { name: 'Keep it' }).click();
  await page.getByRole('button', { name: 'Delete gone@1' }).click();
  await page.getByRole('button', { name: 'Delete the version' }).click();
  await page.getByRole('region', { name: 'gone@1' }).waitFor({ state: 'detached' });
  await page.getByRole('button', { name: 'Delete the adapter' }).click();
  await page.getByRole('button', { name: 'Delete all versions' }).click();
  await page.getByRole('heading', { name: 'Adapters', exact: true }).waitFor();
  assert.equal((await fetch(`${server.url}/v1/adapters/gone`)).status, 404);
  assert.deepEqual(problems, []);
  await page.context().close();
});
