import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import type { ModelFiles } from '../../src/core/base-model.ts';
import { prng } from '../../src/core/prng.ts';
import { decodeLowered, loadWeights, loweredFile } from '../../src/graph/weights.ts';
import { temporaryFolder, tinyFiles, tinyLowered } from '../helpers/tiny-lowered.ts';
import { tinyModels } from '../helpers/tiny-models.ts';

const never = (message: string) => assert.fail(message);

function onlyFile(folder: string): string {
  const names = readdirSync(folder);
  assert.equal(names.length, 1, `${names}`);
  return join(folder, names[0]!);
}

async function cachedTwice(files: ModelFiles, folder: string) {
  const first = await loadWeights(files, null, folder, never);
  const second = await loadWeights(files, null, folder, never);
  return { first, second };
}

for (const name of tinyModels) {
  test(`${name}: the second start reads what the first one lowered`, async () => {
    const folder = join(temporaryFolder(), 'made', 'when', 'needed');
    const { first, second } = await cachedTwice(await tinyFiles(name), folder);
    assert.deepEqual([first.cached, second.cached], [false, true]);
    assert.deepEqual(second.model.shape, first.model.shape);
    assert.deepEqual(second.model.linears, first.model.linears);
    assert.deepEqual(new Set(second.model.weights.keys()), new Set(first.model.weights.keys()));
    for (const [weight, { type, shape, data }] of first.model.weights) {
      const read = second.model.weights.get(weight)!;
      assert.deepEqual([read.type, read.shape], [type, shape]);
      assert.deepEqual(Buffer.from(bytesOf(read.data)), Buffer.from(bytesOf(data)), weight);
    }
  });
}

test('widths and models do not share a file', async () => {
  const folder = temporaryFolder();
  for (const bits of [null, 4, 8, 16, 32] as const) await loadWeights(await tinyFiles('llama'), bits, folder, never);
  await loadWeights(await tinyFiles('qwen2'), null, folder, never);
  assert.equal(readdirSync(folder).length, 6);
});

test('a file that was cut or changed is said so, not used, and made anew', async () => {
  const folder = temporaryFolder();
  const files = await tinyFiles('llama');
  await loadWeights(files, null, folder, never);
  const path = onlyFile(folder);
  const good = readFileSync(path);
  const flipped = (at: number) => {
    const bytes = Buffer.from(good);
    bytes[at]! ^= 4;
    return bytes;
  };
  for (const bad of [good.subarray(0, -1), good.subarray(0, 5), Buffer.alloc(0), flipped(good.length - 7)]) {
    writeFileSync(path, bad);
    const warnings: string[] = [];
    const { cached } = await loadWeights(files, null, folder, (message) => warnings.push(message));
    assert.equal(cached, false);
    assert.match(warnings.join(), /is not used: /);
    assert.deepEqual(readFileSync(path), good);
  }
});

test('no bit of a file may change: header, shape, names or data', async () => {
  const good = Buffer.concat([...loweredFile(await tinyLowered('llama', null))]);
  assert.ok(decodeLowered(good));
  const headerEnd = 8 + Number(good.readBigUInt64LE());
  const random = prng(3);
  const places = Array.from({ length: 40 }, () => headerEnd + Math.floor(random() * (good.length - headerEnd)));
  for (let at = 0; at < headerEnd; at += 7) places.push(at);
  for (const at of places) {
    const bad = Buffer.from(good);
    bad[at]! ^= 1 << Math.floor(random() * 8);
    assert.throws(() => decodeLowered(bad), Error, `byte ${at} of ${headerEnd}`);
  }
});

test('a number of the shape is under the checksum too', async () => {
  const good = Buffer.concat([...loweredFile(await tinyLowered('llama', null))]);
  const changed = good.toString('latin1').replace('ropeTheta\\":10000', 'ropeTheta\\":90000');
  const bad = Buffer.from(changed, 'latin1');
  assert.equal(bad.length, good.length);
  assert.notDeepEqual(bad, good);
  assert.throws(() => decodeLowered(bad), /checksum/);
});

test('a cache that cannot be written costs a warning', async () => {
  const file = join(temporaryFolder(), 'a-file');
  writeFileSync(file, '');
  const warnings: string[] = [];
  const { cached, model } = await loadWeights(await tinyFiles('llama'), null, file, (message) =>
    warnings.push(message),
  );
  assert.equal(cached, false);
  assert.ok(model.weights.size > 0);
  assert.match(warnings.join('\n'), /could not be cached/);
});

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array | Uint8Array) =>
  new Uint8Array(buffer, byteOffset, byteLength);
