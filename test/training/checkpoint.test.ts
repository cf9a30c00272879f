import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { type Checkpoint, openCheckpoints } from '../../src/training/checkpoint.ts';
import { noProgress } from '../../src/training/progress.ts';
import { temporaryFolder } from '../helpers/tiny-lowered.ts';

const checkpoint = (step: number, best: number | null = null): Checkpoint => ({
  adapter: { config: Buffer.from('{}'), weights: Buffer.from([step]) },
  moments: { first: Float32Array.of(step, 1), second: Float32Array.of(0, 2) },
  progress: { ...noProgress, step, best: best === null ? null : { step: best, validLoss: 1 } },
  threads: 2,
});

test('what is saved is read again, bit for bit', async () => {
  const folder = temporaryFolder();
  const saved = checkpoint(3);
  await (await openCheckpoints(folder, 'a')).save(saved);
  const read = await (await openCheckpoints(folder, 'a')).latest();
  assert.deepEqual(read, saved);
});

test('the last two stay, and the best', async () => {
  const folder = temporaryFolder();
  const store = await openCheckpoints(folder, 'a');
  for (const step of [1, 2, 3, 10, 20]) await store.save(checkpoint(step, step === 1 ? null : 2));
  assert.deepEqual(readdirSync(folder).sort(), ['10', '2', '20']);
  assert.equal((await store.latest())?.progress.step, 20);
});

test('a checkpoint of the same step is replaced', async () => {
  const store = await openCheckpoints(temporaryFolder(), 'a');
  await store.save(checkpoint(1));
  await store.save(checkpoint(1, 1));
  assert.deepEqual((await store.latest())?.progress.best, { step: 1, validLoss: 1 });
});

test('one with any byte wrong, cut, missing or of another job is as good as absent', async () => {
  const folder = temporaryFolder();
  const store = await openCheckpoints(folder, 'a');
  await store.save(checkpoint(1));
  await store.save(checkpoint(2));
  assert.equal(await (await openCheckpoints(folder, 'b')).latest(), null);
  const files = readdirSync(store.folderOf(2));
  assert.equal(files.length, 4);
  for (const name of files) {
    const path = join(store.folderOf(2), name);
    const bytes = readFileSync(path);
    const spoil: readonly (() => void)[] = [
      () => truncateSync(path, bytes.length - 1),
      () => rmSync(path),
      ...Array.from({ length: 40 }, (_, i) => () => {
        const wrong = Buffer.from(bytes);
        wrong[Math.floor((i / 40) * bytes.length)]! ^= 1;
        writeFileSync(path, wrong);
      }),
    ];
    for (const change of spoil) {
      change();
      const step = (await store.latest())?.progress.step;
      assert.equal(step, 1, `${name}`);
      writeFileSync(path, bytes);
    }
  }
  assert.equal((await store.latest())?.progress.step, 2);
});

test('what a killed process left half written goes at the next start; other files stay', async () => {
  const folder = temporaryFolder();
  mkdirSync(join(folder, '.unfinished-4.abc'));
  writeFileSync(join(folder, '.unfinished-4.abc', 'state.json'), '{');
  mkdirSync(join(folder, 'notes'));
  const store = await openCheckpoints(folder, 'a');
  assert.deepEqual(readdirSync(folder), ['notes']);
  assert.equal(await store.latest(), null);
});
