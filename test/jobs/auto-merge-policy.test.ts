// The policy alone, and in a simulated world that follows it: shares that change or stay, sizes known before or after.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type AutoMergeDecision,
  type AutoMergeRules,
  type AutoMergeSituation,
  type Candidate,
  decideMerges,
  type MergeNow,
} from '../../src/jobs/merges/auto-merge-policy.ts';

const rules: AutoMergeRules = {
  ...{ shareUp: 0.5, shareDown: 0.25, budgetBytes: 100, mergesMax: 2 },
  ...{ lifeMs: 60, retryMs: 300, tokensMin: 10 },
};
const candidate = (key: string, share: number, rest: Partial<Candidate> = {}): Candidate => {
  return { key, share, bytes: 40, restsSince: null, ...rest };
};
const merged = (key: string, share: number, rest: Partial<MergeNow> = {}): MergeNow => {
  return { key, share, bytes: 40, automatic: true, state: 'merged', since: 0, ...rest };
};
const decide = (situation: Partial<AutoMergeSituation>, own: Partial<AutoMergeRules> = {}) =>
  decideMerges({ ...rules, ...own }, { now: 1000, tokens: 100, candidates: [], merges: [], ...situation }).map(
    ({ key, decision, reason }) => `${decision} ${key}: ${reason}`,
  );

test('a share that is high merges, one that is low unmerges, one between the two changes nothing', () => {
  assert.deepEqual(decide({ candidates: [candidate('a', 0.5), candidate('b', 0.49)] }), ['merge a: share']);
  assert.deepEqual(decide({ merges: [merged('a', 0.25), merged('b', 0.24)] }), ['unmerge b: share']);
  assert.deepEqual(decide({ tokens: 9, candidates: [candidate('a', 1)], merges: [merged('b', 0)] }), []);
});

test('a merge has its life, and an admin keeps what an admin made', () => {
  assert.deepEqual(decide({ now: 59, merges: [merged('a', 0)] }), []);
  assert.deepEqual(decide({ now: 60, merges: [merged('a', 0)] }), ['unmerge a: share']);
  assert.deepEqual(decide({ merges: [merged('a', 0, { automatic: false })] }), []);
  assert.deepEqual(decide({ merges: [merged('a', 0, { state: 'merging' })] }), []);
});

test('what waits says why', () => {
  const a = candidate('a', 0.6);
  const held = { automatic: false, share: 0 };
  assert.deepEqual(decide({ candidates: [candidate('a', 0.6, { restsSince: 701 })] }), ['wait a: rests']);
  assert.deepEqual(decide({ candidates: [candidate('a', 0.6, { restsSince: 700 })] }), ['merge a: share']);
  assert.deepEqual(decide({ candidates: [a], merges: [merged('b', 0, { ...held, state: 'merging' })] }), [
    'wait a: another_is_merging',
  ]);
  assert.deepEqual(decide({ candidates: [a], merges: [merged('b', 0, { ...held, bytes: 61 })] }), ['wait a: budget']);
  assert.deepEqual(decide({ candidates: [a], merges: [merged('b', 0.5, { bytes: 1 })] }, { mergesMax: 1 }), [
    'wait a: too_many',
  ]);
  assert.deepEqual(decide({ candidates: [a], merges: [merged('b', 0, { bytes: 61, state: 'draining' })] }), [
    'wait a: making_room',
  ]);
});

test('one with far more traffic displaces the lightest, and its room is kept from lighter ones', () => {
  const low = { shareUp: 0.3, shareDown: 0.1 };
  const merges = [merged('b', 0.2), merged('c', 0.15)];
  const candidates = [candidate('small', 0.31, { bytes: 5 }), candidate('a', 0.4)];
  assert.deepEqual(decide({ candidates, merges }, { ...low, mergesMax: 3 }), [
    'unmerge c: displaced',
    'wait a: making_room',
  ]);
  const close = [candidate('a', 0.34), candidate('small', 0.31, { bytes: 5 })];
  assert.deepEqual(decide({ candidates: close, merges }, { ...low, mergesMax: 3 }), [
    'wait a: budget',
    'merge small: share',
  ]);
});

test('a decision carries its figures', () => {
  const situation = { now: 1000, tokens: 100, candidates: [candidate('a', 0.6)], merges: [merged('b', 0.3)] };
  const expected: AutoMergeDecision[] = [
    { key: 'a', decision: 'merge', reason: 'share', share: 0.6, bytes: 40, freeBytes: 60 },
  ];
  assert.deepEqual(decideMerges(rules, situation), expected);
});

// --- a simulated world that follows the policy ---

type World = {
  now: number;
  readonly merges: Map<string, { -readonly [K in keyof MergeNow]: MergeNow[K] } & { trueBytes: number }>;
  readonly history: { readonly at: number; readonly decision: AutoMergeDecision }[];
};
type Adapter = { readonly key: string; readonly bytes: number };

const periodMs = 5;

/** One round, which first completes what the last one began. @param shares by key */
function turn(world: World, own: AutoMergeRules, adapters: readonly Adapter[], shares: ReadonlyMap<string, number>) {
  world.now += periodMs;
  for (const [key, merge] of world.merges) {
    if (merge.state === 'draining') world.merges.delete(key);
    if (merge.state === 'merging') Object.assign(merge, { state: 'merged', since: world.now, bytes: merge.trueBytes });
    merge.share = shares.get(key) ?? 0;
  }
  const candidates = adapters
    .filter(({ key }) => !world.merges.has(key))
    .map(({ key, bytes }) => ({ key, bytes, share: shares.get(key) ?? 0, restsSince: null }));
  const merges = [...world.merges.values()];
  for (const decision of decideMerges(own, { now: world.now, tokens: 1000, candidates, merges })) {
    world.history.push({ at: world.now, decision });
    const { key, share, bytes } = decision;
    if (decision.decision === 'unmerge') {
      const merge = world.merges.get(key)!;
      assert.ok(merge.automatic, 'an admin’s merge stays');
      assert.ok(merge.state === 'merged' && world.now - merge.since >= own.lifeMs, 'a merge has its life');
      merge.state = 'draining';
    }
    if (decision.decision !== 'merge') continue;
    const since = 0;
    world.merges.set(key, { key, share, bytes, trueBytes: bytes, automatic: true, state: 'merging', since });
    const used = [...world.merges.values()].reduce((sum, merge) => sum + merge.bytes, 0);
    assert.ok(used <= own.budgetBytes, `${used} of ${own.budgetBytes} bytes`);
    assert.ok([...world.merges.values()].filter(({ state }) => state === 'merging').length === 1, 'one at a time');
  }
  const automatic = [...world.merges.values()].filter((merge) => merge.automatic && merge.state !== 'draining');
  assert.ok(automatic.length <= own.mergesMax);
}

const keys = ['a', 'b', 'c', 'd', 'e'];
const weights = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 6, maxLength: 6 });
/** The base model has the rest. */
const sharesOf = (drawn: readonly number[]) => {
  const total = drawn.reduce((sum, weight) => sum + weight, 0) || 1;
  return new Map(keys.map((key, i) => [key, drawn[i]! / total]));
};
const worlds = fc.record({
  sizes: fc.array(fc.integer({ min: 1, max: 120 }), { minLength: 5, maxLength: 5 }),
  admins: fc.integer({ min: 0, max: 100 }),
  shareUp: fc.double({ min: 0.1, max: 0.6, noNaN: true }),
  gap: fc.double({ min: 0.01, max: 0.1, noNaN: true }),
  mergesMax: fc.integer({ min: 1, max: 4 }),
  phases: fc.array(weights, { minLength: 1, maxLength: 4 }),
});

function newWorld({
  sizes,
  admins,
  shareUp,
  gap,
  mergesMax,
}: Omit<typeof worlds extends fc.Arbitrary<infer W> ? W : never, 'phases'>) {
  const own: AutoMergeRules = { ...rules, shareUp, shareDown: shareUp - gap, mergesMax };
  const adapters = keys.map((key, i) => ({ key, bytes: sizes[i]! }));
  const world: World = { now: 0, merges: new Map(), history: [] };
  const ofAdmin = { key: 'admin', share: 0, bytes: admins, trueBytes: admins, automatic: false, since: 0 };
  world.merges.set('admin', { ...ofAdmin, state: 'merged' });
  return { world, own, adapters };
}

test('whatever the traffic: never over the budget, never short-lived, never an admin’s, never two at once', () => {
  fc.assert(
    fc.property(worlds, ({ phases, ...drawn }) => {
      const { world, own, adapters } = newWorld(drawn);
      for (const phase of phases) for (let i = 0; i < 30; i++) turn(world, own, adapters, sharesOf(phase));
      assert.equal(world.merges.get('admin')?.state, 'merged');
    }),
    { numRuns: 500 },
  );
});

test('a constant share never flaps: it comes to rest, and nothing is merged twice on the way', () => {
  fc.assert(
    fc.property(worlds, ({ phases, ...drawn }) => {
      const { world, own, adapters } = newWorld(drawn);
      const shares = sharesOf(phases[0]!);
      for (let i = 0; i < 400; i++) turn(world, own, adapters, shares);
      const acts = world.history.filter(({ decision }) => decision.decision !== 'wait');
      assert.ok(
        acts.every(({ at }) => at < 250 * periodMs),
        'it comes to rest',
      );
      const merges = acts.filter(({ decision }) => decision.decision === 'merge').map(({ decision }) => decision.key);
      assert.equal(new Set(merges).size, merges.length);
    }),
    { numRuns: 500 },
  );
});

test('nobody starves: what waits for ever cannot fit, or yields to as much traffic as its own', () => {
  fc.assert(
    fc.property(worlds, ({ phases, ...drawn }) => {
      const { world, own, adapters } = newWorld(drawn);
      const shares = sharesOf(phases[0]!);
      for (let i = 0; i < 400; i++) turn(world, own, adapters, shares);
      const ofAdmin = world.merges.get('admin')!.bytes;
      const automatic = [...world.merges.values()].filter((merge) => merge.automatic);
      for (const { key, bytes } of adapters) {
        const share = shares.get(key)!;
        if (share < own.shareUp || world.merges.has(key)) continue;
        if (ofAdmin + bytes > own.budgetBytes) continue;
        const others = automatic.reduce((sum, merge) => sum + merge.share, 0);
        assert.ok(
          others + (own.shareUp - own.shareDown) > share,
          `${key} has ${share}, those that are merged ${others}`,
        );
      }
    }),
    { numRuns: 500 },
  );
});
