// A browser for tests of the console: collects the page's problems and checks accessibility.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';

/** Debian's path of the browser; LORIKEET_TEST_BROWSER names another. */
export const browserPath = process.env.LORIKEET_TEST_BROWSER || '/usr/bin/chromium';

/** Reason to skip, for `test(name, { skip: withoutBrowser }, ...)`; false where there is a browser. */
export const withoutBrowser = existsSync(browserPath) ? false : `there is no browser at ${browserPath}`;

/** Flags for containers, which have neither user namespaces nor much shared memory. */
export const openBrowser = (): Promise<Browser> =>
  chromium.launch({ executablePath: browserPath, args: ['--no-sandbox', '--disable-dev-shm-usage'] });

export type Watched = {
  readonly page: Page;
  /** Errors and warnings that the page logged, exceptions, violations of its policy, and failed requests. */
  readonly problems: string[];
};

type Options = {
  readonly width?: number;
  readonly height?: number;
  readonly scheme?: 'light' | 'dark';
  /** Statuses that the test provokes, which the browser logs as errors. */
  readonly refusals?: readonly number[];
};

export async function openPage(browser: Browser, options: Options = {}): Promise<Watched> {
  const { width = 1280, height = 860, scheme = 'light', refusals = [] } = options;
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme });
  const page = await context.newPage();
  // Long, since merges and trainings get only what others leave of the processor; but below the limit of a test, so
  // that the error names what was waited for.
  page.setDefaultTimeout(240_000);
  const problems: string[] = [];
  const isProvoked = (text: string) => refusals.some((status) => text.includes(`status of ${status}`));
  page.on('console', (message) => {
    const isLoud = ['error', 'warning'].includes(message.type());
    if (isLoud && !isProvoked(message.text())) problems.push(`${message.type()}: ${message.text()}`);
  });
  page.on('pageerror', (error) => problems.push(`thrown: ${error.message}`));
  page.on('requestfailed', (request) => {
    // A view that is left aborts its requests.
    if (request.failure()?.errorText !== 'net::ERR_ABORTED') problems.push(`failed: ${request.url()}`);
  });
  return { page, problems };
}

const axe = readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8');

type Violation = { id: string; impact: string; nodes: { html: string; failureSummary: string }[] };

/** Checks axe's rules, except those that need a person's judgement. Only serious violations count. */
export async function assertAccessible(page: Page): Promise<void> {
  await page.evaluate(axe);
  const violations = (await page.evaluate('axe.run().then(({ violations }) => violations)')) as Violation[];
  const serious = violations
    .filter(({ impact }) => ['serious', 'critical'].includes(impact))
    .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}\n${failureSummary}`));
  assert.deepEqual(serious, [], page.url());
}

/** Drops files as from the desktop. A script can make files for a drop, but no folders. */
export async function drop(page: Page, selector: string, files: Readonly<Record<string, Uint8Array>>): Promise<void> {
  const texts = Object.entries(files).map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')] as const);
  const data = await page.evaluateHandle((given) => {
    const transfer = new DataTransfer();
    for (const [name, text] of given) {
      const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      transfer.items.add(new File([bytes], name));
    }
    return transfer;
  }, texts);
  await page.dispatchEvent(selector, 'drop', { dataTransfer: data });
}
