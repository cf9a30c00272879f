// A folder that lives as long as its test.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

export function temporaryFolder(context: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'lorikeet-models-'));
  context.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
