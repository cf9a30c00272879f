// Aliases: compare-and-swap, and how a split alias divides requests.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { prng } from '../../src/core/prng.ts';
import { draw } from '../../src/registry/named.ts';
import { temporaryFolder } from '../helpers/temporary-folder.ts';
import { newDatabase } from '../helpers/test-database.ts';
import { testRegistry, upload } from '../helpers/test-registry.ts';

const only = (version: number) => [{ version, weight: 1 }];

test('an alias moves by compare-and-swap', async (t) => {
  const registry = await testRegistry(t);
  await upload(registry, 'a', 1);
  await upload(registry, 'a', 2);
  const set = (version: number, expected: number | null, alias = 'prod') =>
    registry.setAlias('default', { name: 'a', alias, targets: only(version), expected });
  const first = await set(1, 0);
  assert.deepEqual([first.alias, first.targets, first.revision], ['prod', only(1), 1]);
  assert.equal((await registry.lease('default', 'a:prod')).adapter.version, 1);
  await assert.rejects(set(2, 0), { code: 'alias_changed' });
  await assert.rejects(set(2, 7), { code: 'alias_changed' });
  const second = await set(2, first.revision);
  assert.equal((await registry.find('default', 'a:prod')).version, 2);
  // One of two callers who saw the same revision is told that the other was faster.
  const results = await Promise.allSettled([set(1, second.revision), set(1, second.revision)]);
  assert.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  await set(2, null);
  await set(1, 0, 'beta');
  assert.deepEqual(
    (await registry.aliases('default', 'a')).map(({ alias }) => alias),
    ['beta', 'prod'],
  );
});

test('an alias that is made again does not repeat a revision', async (t) => {
  const registry = await testRegistry(t);
  await upload(registry, 'a', 1);
  const set = (expected: number | null) =>
    registry.setAlias('default', { name: 'a', alias: 'prod', targets: only(1), expected });
  const { revision } = await set(null);
  await assert.rejects(registry.deleteAlias('default', 'a', 'prod', revision + 1), { code: 'alias_changed' });
  await registry.deleteAlias('default', 'a', 'prod', revision);
  await assert.rejects(registry.deleteAlias('default', 'a', 'prod', null), { code: 'alias_not_found' });
  await assert.rejects(registry.lease('default', 'a:prod'), { code: 'alias_not_found' });
  await set(0);
  await assert.rejects(set(revision), { code: 'alias_changed' });
});

test('what an alias cannot be', async (t) => {
  const registry = await testRegistry(t);
  await upload(registry, 'a', 1);
  await upload(registry, 'a', 2);
  const set = (targets: readonly { version: number; weight: number }[], alias = 'prod') =>
    registry.setAlias('default', { name: 'a', alias, targets, expected: null });
  await assert.rejects(set(only(3)), { code: 'adapter_not_found' });
  const twice = [...only(1), ...only(1)];
  const many = Array.from({ length: 17 }, (_, index) => ({ version: index + 1, weight: 1 }));
  for (const targets of [[], twice, many]) await assert.rejects(set(targets), { code: 'invalid_parameter' });
  for (const weight of [-1, 0, Number.NaN, Number.POSITIVE_INFINITY]) {
    await assert.rejects(set([{ version: 1, weight }]), { code: 'invalid_parameter', param: 'targets' });
  }
  for (const alias of ['', 'a:b', 'a/b', '..']) {
    await assert.rejects(set(only(1), alias), { code: 'invalid_parameter', param: 'alias' });
  }
});

test('a split alias divides requests by weight, the same way for the same seed, also after a restart', async (t) => {
  const [folder, database] = [temporaryFolder(t), await newDatabase()];
  const first = await testRegistry(t, { folder, database });
  for (const seed of [1, 2, 3]) await upload(first, 'a', seed);
  const targets = [
    { version: 1, weight: 90 },
    { version: 2, weight: 10 },
    { version: 3, weight: 0 },
  ];
  const set = await first.setAlias('default', { name: 'a', alias: 'prod', targets, expected: null });
  await first.close();
  const registry = await testRegistry(t, { folder, database, random: prng(5) });
  assert.deepEqual(await registry.aliases('default', 'a'), [set]);
  assert.equal((await registry.find('default', 'a:prod')).version, 1);
  const counts = [0, 0, 0, 0];
  for (let call = 0; call < 2000; call++) {
    const lease = await registry.lease('default', 'a:prod');
    counts[lease.adapter.version]!++;
    lease.release();
  }
  t.diagnostic(`of 2000 requests: ${counts.slice(1)}`);
  assert.ok(counts[2]! > 150 && counts[2]! < 250);
  assert.equal(counts[3], 0);
  await registry.close();
  await database.destroy();
});

test('a draw never gives a target of weight 0', () => {
  const weight = fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1e9, noNaN: true }), fc.double({ min: 0, max: 1 }));
  const targets = fc
    .array(weight, { minLength: 1, maxLength: 16 })
    .filter((weights) => weights.some((weight) => weight > 0) && weights.every((weight) => weight >= 0));
  fc.assert(
    fc.property(targets, fc.double({ min: 0, max: 1 - 2 ** -32, noNaN: true }), (weights, random) => {
      const version = draw(
        weights.map((weight, version) => ({ version, weight })),
        () => random,
      );
      assert.ok(weights[version]! > 0);
    }),
    { numRuns: 2000 },
  );
});
