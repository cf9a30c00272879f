import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { mergeKey } from '../../src/core/adapter.ts';
import { slidingCount } from '../../src/jobs/merges/sliding-count.ts';
import { measureTraffic } from '../../src/jobs/merges/traffic.ts';
import type { AdapterVersion } from '../../src/registry/adapter-registry.ts';
import { virtualTime } from '../fixtures/virtual-time.ts';

const version = (digest: string) =>
  ({ name: digest, version: 1, digest, targetModules: [] }) as unknown as AdapterVersion;
const applied = (...digests: string[]) => ({
  tenant: 'default',
  adapters: digests.map((digest) => ({ adapter: version(digest), scale: 1 })),
});
const keyOf = (...digests: string[]) => mergeKey(digests.map((digest) => ({ files: { digest }, scale: 1 })));

test('a sliding count is that of the window, to a twelfth of it', () => {
  const arrivals = fc.array(fc.record({ gap: fc.nat(400), count: fc.nat(5) }), { maxLength: 60 });
  fc.assert(
    fc.property(arrivals, (drawn) => {
      const count = slidingCount(1200);
      const seen: { at: number; count: number }[] = [];
      let now = 0;
      for (const { gap, count: more } of drawn) {
        now += gap;
        count.add(more, now);
        seen.push({ at: now, count: more });
        const since = (ms: number) => seen.filter(({ at }) => at > now - ms).reduce((sum, one) => sum + one.count, 0);
        const total = count.total(now);
        assert.ok(total >= since(1100) && total <= since(1200), `${total}, ${since(1100)} to ${since(1200)}`);
      }
      assert.equal(count.total(now + 1200), 0);
    }),
  );
});

test('shares are of all tokens, of the window alone', () => {
  const time = virtualTime();
  const traffic = measureTraffic(time, { trafficWindowMs: 1200, trafficAdapters: 10 });
  assert.deepEqual([traffic.tokens(), traffic.shareOf('a')], [0, 0]);
  const count = (tokens: number, ...digests: string[]) => {
    const one = traffic.counterOf(applied(...digests));
    for (let i = 0; i < tokens; i++) one(time.monotonic());
  };
  count(60, 'a');
  count(30);
  count(10, 'a', 'b');
  assert.equal(traffic.tokens(), 100);
  assert.deepEqual([traffic.shareOf(keyOf('a')), traffic.shareOf(keyOf('a', 'b')), traffic.shareOf('')], [0.6, 0.1, 0]);
  assert.deepEqual(
    traffic.adapters().map(({ key, share }) => [key, share]),
    [
      [keyOf('a'), 0.6],
      [keyOf('a', 'b'), 0.1],
    ],
  );
  time.advance(1200);
  count(5, 'b');
  assert.deepEqual([traffic.tokens(), traffic.shareOf(keyOf('a')), traffic.shareOf(keyOf('b'))], [5, 0, 1]);
});

test('one content under two names counts as the engine is asked for it', () => {
  const time = virtualTime();
  const traffic = measureTraffic(time, { trafficWindowMs: 1200, trafficAdapters: 10 });
  traffic.counterOf(applied('a', 'a'))(0);
  assert.deepEqual(
    traffic.adapters().map(({ key }) => key),
    ['a*2'],
  );
});

test('callers cannot make it grow: further weights count in the sum only, until others have gone quiet', () => {
  const time = virtualTime();
  const traffic = measureTraffic(time, { trafficWindowMs: 1200, trafficAdapters: 2 });
  for (const digest of ['a', 'b', 'c']) traffic.counterOf(applied(digest))(0);
  assert.deepEqual([traffic.adapters().length, traffic.tokens(), traffic.shareOf(keyOf('c'))], [2, 3, 0]);
  time.advance(1200);
  traffic.counterOf(applied('c'))(time.monotonic());
  assert.deepEqual(
    traffic.adapters().map(({ key }) => key),
    [keyOf('c')],
  );
});
