// Other views on a server without keys: three answers side by side, a training up to its curve, traffic, merges.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { assertAccessible, drop, openBrowser, openPage, withoutBrowser } from './browser.ts';
import { type ConsoleServer, rowsOf, startConsoleServer, uploadTiny } from './console-server.ts';

let browser: Browser;
let server: ConsoleServer;
before(async () => {
  if (withoutBrowser) return;
  [browser, server] = await Promise.all([openBrowser(), startConsoleServer()]);
  await uploadTiny(server.url, 'wren', 1);
  await uploadTiny(server.url, 'wren', 2);
});
after(async () => {
  await browser?.close();
  await server?.close();
});

const options = { skip: withoutBrowser };
const bytesOf = (text: string) => new TextEncoder().encode(text);

/** Number of drawn pixels of a canvas, whose background is transparent. */
const inkOf = (page: Page, selector: string): Promise<number> =>
  page.locator(`${selector} canvas`).evaluate((canvas: HTMLCanvasElement) => {
    const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, i) => i % 4 === 3 && value > 128).length;
  });

test('three targets answer side by side, with the likelihood of every token', options, async () => {
  const { page, problems } = await openPage(browser);
  await page.goto(`${server.url}/console/#/playground?target=&target=wren%402`);
  await page.getByLabel('Adapter, version or alias').fill('wren@1*0.5');
  await page.getByRole('button', { name: 'Add beside' }).click();
  await page.getByRole('button', { name: 'Plain text' }).click();
  await page.getByLabel('Text to go on from').fill('The bird says');
  await page.getByLabel('Tokens at most').fill('12');
  await page.getByLabel('Temperature').fill('0.8');
  await page.getByLabel('Text to go on from').press('Control+Enter');
  const column = (name: string) => page.getByRole('region', { name, exact: true });
  const names = ['llama', 'wren@2', 'wren@1 × 0.5'];
  for (const name of names)
    await column(name)
      .getByText(/^(length|stop)$/)
      .waitFor();

  // The shown text is what the same request gives any caller.
  const asked = { prompt: 'The bird says', max_tokens: 12, temperature: 0.8, top_p: 1, seed: 1, logprobs: 0 };
  for (const [i, target] of [{}, { adapter_id: 'wren@2' }, { adapter_id: 'wren@1', adapter_scale: 0.5 }].entries()) {
    const answer = await fetch(`${server.url}/v1/generate`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...asked, ...target }),
    });
    const { text } = (await answer.json()) as { text: string };
    assert.equal(await column(names[i]!).locator('.answer').textContent(), text);
  }
  await column('wren@2').locator('.digest').waitFor();
  await column('wren@2').locator('.answer').focus();
  await page.keyboard.press('ArrowRight');
  await column('wren@2').locator('.closely dd').first().getByText('%').waitFor();
  await column('wren@2')
    .getByText(/the first one/)
    .waitFor();
  await assertAccessible(page);
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('a name that is not there says so in its column, and the others answer', options, async () => {
  const { page, problems } = await openPage(browser, { refusals: [404] });
  await page.goto(`${server.url}/console/#/playground?target=&target=nobody`);
  await page.getByRole('textbox', { name: 'Message', exact: true }).fill('Hi');
  await page.getByRole('button', { name: 'Ask all' }).click();
  await page.getByRole('region', { name: 'nobody' }).getByText('adapter_not_found').waitFor();
  await page
    .getByRole('region', { name: 'llama' })
    .getByText(/^(length|stop)$/)
    .waitFor();
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('rows are dropped, trained on to a visible curve, and the result promoted', options, async () => {
  const { page, problems } = await openPage(browser, { refusals: [400] });
  await page.goto(`${server.url}/console/#/training`);
  await page.getByRole('heading', { name: 'Nothing was trained yet' }).waitFor();
  await assertAccessible(page);
  await page.getByRole('link', { name: 'New training' }).first().click();
  const [training, validation] = ['.cards .card:nth-child(1) .drop', '.cards .card:nth-child(2) .drop'];
  await page.getByLabel('max_steps').waitFor();

  await drop(page, training, { 'rows.jsonl': bytesOf(`${rowsOf(2)}\n{"prompt":1}\nnot json`) });
  const refusal = page.getByRole('alert');
  await refusal.getByText('file_invalid').waitFor();
  assert.match((await refusal.textContent()) ?? '', /line 3[\s\S]*line 4/i);
  await drop(page, training, { 'rows.jsonl': bytesOf(rowsOf(24)) });
  await page.getByText('24 rows').waitFor();
  await drop(page, validation, { 'valid.jsonl': bytesOf(rowsOf(4)) });
  await page.getByText('4 rows', { exact: false }).nth(1).waitFor();
  await page.getByLabel('Name').fill('robin');
  await page.getByLabel('max_steps').fill('24');
  await page.getByLabel('target_modules').fill('q_proj, v_proj');
  await page.getByLabel('r', { exact: true }).fill('2');
  await page.getByText('All settings').click();
  await page.getByLabel('eval_steps').fill('6');
  await page.getByLabel('checkpoint_steps').fill('6');
  await assertAccessible(page);
  await page.getByRole('button', { name: 'Start training' }).click();

  await page.getByText('succeeded').waitFor();
  await page.getByRole('img', { name: /^Loss: training [\d.e-]+, validation [\d.e-]+$/ }).waitFor();
  await page.waitForFunction(() => document.querySelector('[data-testid=loss] canvas') !== null);
  assert.ok((await inkOf(page, '[data-testid=loss]')) > 1000, 'the curve is drawn');
  await page.getByText('The job has successfully completed').waitFor();
  await page.getByRole('row', { name: /robin\/step-24/ }).waitFor();
  await assertAccessible(page);

  await page.locator('.heading').getByRole('button', { name: 'Promote' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Promote' }).click();
  await page.getByText('robin:prod is v1.').waitFor();
  // A checkpoint that is promoted becomes a version of the job's adapter with the same bytes.
  await page
    .getByRole('row', { name: /robin\/step-18/ })
    .getByRole('button', { name: 'Promote' })
    .click();
  await page.getByRole('heading', { name: 'Promote v2' }).waitFor();
  await page.keyboard.press('Escape');
  const digestOf = async (path: string) =>
    ((await (await fetch(`${server.url}/v1/adapters/${path}`)).json()) as { digest: string }).digest;
  assert.equal(await digestOf('robin/versions/2'), await digestOf('robin%2Fstep-18'));
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('a running job is paused, resumed and cancelled; runs are laid over each other', options, async () => {
  const { page, problems } = await openPage(browser);
  const form = new FormData();
  form.append('purpose', 'fine-tune');
  form.append('file', new Blob([rowsOf(8)]), 'rows.jsonl');
  const file = (await (await fetch(`${server.url}/v1/files`, { method: 'POST', body: form })).json()) as { id: string };
  const hyperparameters = { max_steps: 100_000, checkpoint_steps: 100_000 };
  const body = {
    training_file: file.id,
    suffix: 'long',
    method: { type: 'supervised', supervised: { hyperparameters } },
  };
  const headers = { 'content-type': 'application/json' };
  const made = await fetch(`${server.url}/v1/fine_tuning/jobs`, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
  });
  const job = (await made.json()) as { id: string };
  await page.goto(`${server.url}/console/#/training/${job.id}`);
  await page.locator('.heading').getByText('running').waitFor();
  await page.getByRole('img', { name: /^Loss: training/ }).waitFor();
  await page.getByRole('button', { name: 'Pause' }).click();
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByRole('button', { name: 'Pause' }).waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.locator('.heading').getByText('cancelled').waitFor();
  await page.getByRole('link', { name: 'Training' }).first().click();
  await page.getByLabel('Overlay long').check();
  await page.getByLabel('Overlay robin').check();
  await page.getByRole('link', { name: 'Overlay 2 runs' }).click();
  await page.getByRole('img', { name: /^Training loss: long [\d.e-]+, robin/ }).waitFor();
  await assertAccessible(page);
  assert.deepEqual(problems, []);
  await page.context().close();
});

test('traffic is drawn as it flows, and an adapter is merged and taken back', options, async () => {
  const { page, problems } = await openPage(browser, { scheme: 'dark' });
  await page.goto(`${server.url}/console/#/traffic`);
  await page.getByRole('img', { name: /^Tokens a second: .*prompts/ }).waitFor();
  const body = JSON.stringify({ adapter_id: 'wren', prompt: 'bird', max_tokens: 40, ignore_eos: true });
  const headers = { 'content-type': 'application/json' };
  for (let i = 0; i < 4; i++) await fetch(`${server.url}/v1/generate`, { method: 'POST', headers, body });
  await page.getByRole('img', { name: /^Tokens a second by adapter: .*wren/ }).waitFor();
  await page.getByRole('row', { name: /^wren/ }).first().waitFor();
  await page.getByRole('row', { name: /^default \d/ }).waitFor();
  await page.getByRole('img', { name: /^Between tokens: median [\d.]+ m?s/ }).waitFor();
  await page.getByLabel('Merge an adapter').fill('wren@2');
  await page.getByLabel('Bits').selectOption('32');
  await page.getByRole('button', { name: 'Merge', exact: true }).click();
  const row = page.getByRole('row', { name: /wren@2/ });
  await row.getByText('merged', { exact: true }).waitFor();
  // The last cell is the top-1 agreement; the share of the traffic may be 100 % too.
  await row.getByText('100.0 %').last().waitFor();
  await assertAccessible(page);
  await row.getByRole('link', { name: 'Compare' }).click();
  await page.getByRole('textbox', { name: 'Message', exact: true }).fill('Hi');
  await page.getByRole('button', { name: 'Ask all' }).click();
  const unmerged = page.getByRole('region', { name: 'wren@2, unmerged' });
  await unmerged.getByText('v2', { exact: true }).waitFor();
  assert.equal(await unmerged.getByText('merged, 32 bits').count(), 0);
  // In a batch with others a merge is used where that makes the step shorter; a lone request always uses it.
  await page.getByRole('button', { name: 'Remove wren@2, unmerged' }).click();
  await page.getByRole('button', { name: 'Ask all' }).click();
  await page.getByRole('region', { name: 'wren@2', exact: true }).getByText('merged, 32 bits').waitFor();
  await page.getByRole('link', { name: 'Traffic' }).click();
  await row.getByRole('button', { name: 'Unmerge' }).click();
  await row.waitFor({ state: 'detached' });
  assert.deepEqual(problems, []);
  await page.context().close();
});
