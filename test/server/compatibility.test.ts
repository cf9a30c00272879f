// docs/compatibility.md describes what the routes do. UPDATE_DOCS=1 writes it.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { testApp } from '../helpers/app.ts';
import { compatibility, vllmWordTable } from './compatibility.ts';

const file = new URL('../../docs/compatibility.md', import.meta.url);

test('each parameter on each route works, is refused by its name, or is named as ignored', async (t) => {
  const found = `${await compatibility(await testApp(t, { says: 'ok' }))}\n${vllmWordTable()}`;
  assert.doesNotMatch(found, /FAILED|WITHOUT ITS NAME/);
  if (process.env.UPDATE_DOCS === '1') writeFileSync(file, found);
  assert.equal(found, readFileSync(file, 'utf8'));
});
