// A check that ends after what it read is gone: what it found must not stand for the next content of that digest.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { openDatabase } from '../../src/storage/database.ts';
import { type Files, nodeFiles } from '../../src/storage/files.ts';
import { temporaryFolder, testRegistry, upload } from '../helpers/test-registry.ts';

test('content that is deleted while it is read is written again by the next upload', async (t) => {
  const [folder, database] = [temporaryFolder(t), await openDatabase(':memory:')];
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
      // The first to open a blob after a start is the check in the background. It has both files, and is slow.
      if (!path.includes('blobs') || !path.endsWith('.safetensors') || read++ > 0) return file;
      return {
        ...file,
        async read(offset, bytes) {
          await gate;
          return file.read(offset, bytes);
        },
      };
    },
  };
  const registry = await testRegistry(t, { folder, database, files });
  while (read === 0) await nextTurn();
  await registry.delete('default', 'old', null);
  open();
  for (let turn = 0; turn < 50; turn++) await nextTurn();
  await registry.markCorrupt('none');

  await upload(registry, 'new', 1);
  const lease = await registry.lease('default', 'new');
  assert.ok(existsSync(lease.files.weights), 'a version without its content');
  lease.release();
});
