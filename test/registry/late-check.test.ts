// Checks that end after the content has changed: their results must not be applied to the new content.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Files, nodeFiles } from '../../src/storage/files.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { newDatabase } from '../helpers/test-database.ts';
import { testRegistry, upload } from '../helpers/test-registry.ts';

test('content that is deleted while it is read is written again by the next upload', async (t) => {
  const { registry, endCheck } = await duringCheck(t);
  await registry.delete('default', 'old', null);
  await endCheck();

  await upload(registry, 'new', 1);
  const lease = await registry.lease('default', 'new');
  assert.ok(existsSync(lease.files.weights), 'a version without its content');
  lease.release();
});

test('damage that is reported after the bytes were read is not overlooked', async (t) => {
  const { registry, endCheck } = await duringCheck(t);
  const { digest } = await registry.find('default', 'old');
  const path = join(registry.folder, 'blobs', digest.slice(7), 'adapter_model.safetensors');
  writeFileSync(path, readFileSync(path).fill(1, 300));
  await registry.markCorrupt(digest);
  await endCheck();

  await assert.rejects(registry.lease('default', 'old'), { code: 'adapter_corrupt' });
});

/** A registry whose check after the start has read its only content and has not yet used the result. */
async function duringCheck(t: TestContext) {
  const [folder, database] = [temporaryFolder(t), await newDatabase()];
  t.after(() => database.destroy());
  const first = await testRegistry(t, { folder, database });
  await upload(first, 'old', 1);
  await first.close();

  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  let read = 0;
  const files: Files = {
    ...nodeFiles,
    async open(path) {
      const file = await nodeFiles.open(path);
      // After a start, the background check is the first to open a blob.
      if (!path.includes('blobs') || !path.endsWith('.safetensors') || read > 0) return file;
      return {
        ...file,
        async read(offset, bytes) {
          const chunk = await file.read(offset, bytes);
          read++;
          await gate;
          return chunk;
        },
      };
    },
  };
  const registry = await testRegistry(t, { folder, database, files });
  while (read === 0) await nextTurn();
  return {
    registry,
    async endCheck() {
      open();
      for (let turn = 0; turn < 50; turn++) await nextTurn();
      await registry.markCorrupt('none');
    },
  };
}
