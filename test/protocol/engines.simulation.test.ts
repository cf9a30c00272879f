// Several engines as one: random traffic of tenants and adapters with random deaths, and the gain of routing.
// fast-check prints the seed and the shortest failing history.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import type { AppliedAdapter } from '../../src/core/adapter.ts';
import { LorikeetError } from '../../src/core/errors.ts';
import { prng } from '../../src/core/prng.ts';
import { joinInfo } from '../../src/protocol/engine-stats.ts';
import { testInfo } from './simulated-engine.ts';
import { type Supervised, supervised, type Witness } from './supervised.ts';

const adapterOf = (i: number): AppliedAdapter[] => [
  { files: { digest: `sha256:${i}`, config: '/nowhere', weights: '/nowhere' }, scale: 1 },
];
const shareOf = (flow: number) => ({ flow, weight: 1, priority: 1 });

const engines = 3;
const everyEngine = [...Array(engines).keys()];
const which = fc.nat(engines - 1);
const action = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('submit' as const),
      tokens: fc.integer({ min: 1, max: 5 }),
      adapter: fc.integer({ min: -1, max: 8 }),
      flow: fc.nat(2),
    }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('step' as const), which }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('abort' as const), id: fc.nat(40) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('ready' as const), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('die' as const), which }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('hang' as const), which }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(100, 1000, 20_000) }) },
);
type Action = typeof action extends fc.Arbitrary<infer A> ? A : never;

const aborted = new WeakSet<Witness>();

function perform(world: Supervised, witnesses: Witness[], one: Action): void {
  if (one.do === 'submit') {
    const adapters = one.adapter < 0 ? [] : adapterOf(one.adapter);
    try {
      witnesses.push(world.submit(one.tokens, 4, { adapters, share: shareOf(one.flow) }));
    } catch (error) {
      assert.ok(error instanceof LorikeetError && error.status === 503, String(error));
    }
  } else if (one.do === 'step') world.engine(one.which).step();
  else if (one.do === 'ready') world.engine(one.which).ready();
  else if (one.do === 'die') world.engine(one.which).die();
  else if (one.do === 'hang') world.engine(one.which).hangs = true;
  else if (one.do === 'wait') world.time.advance(one.ms);
  else if (witnesses.length > 0) {
    const witness = witnesses[one.id % witnesses.length]!;
    if (witness.ends.length === 0) aborted.add(witness);
    witness.abort();
  }
}

function checkInvariants({ client, engines: all }: Supervised, witnesses: readonly Witness[]): void {
  const open = witnesses.filter(({ ends }) => ends.length === 0);
  assert.equal(client.stats.running + client.stats.waiting, open.length, 'the book and the callers disagree');
  for (const witness of witnesses) {
    assert.ok(witness.ends.length <= 1 && witness.starts <= 1, 'an end or a start came twice');
    assert.deepEqual(
      witness.tokens,
      witness.tokens.map((_, i) => i + 1),
      'a token was lost, or came twice',
    );
    const end = witness.ends[0];
    if (end?.reason === 'length') assert.equal(witness.tokens.length, end.completionTokens);
    if (aborted.has(witness)) assert.notEqual(end?.reason, 'error', 'an abort was reported as a failure');
  }
  const counted = client.engines.reduce((sum, { stats }) => sum + stats.running + stats.waiting, 0);
  assert.ok(counted <= open.length, 'engines have more than there is');
  for (const device of new Set(all.map((one) => one.device))) {
    assert.ok(all.filter((one) => one.alive && one.device === device).length <= 1, 'two engines on one device');
  }
  const isServed = client.engines.some(({ state }) => state === 'ready');
  if (client.state !== 'draining') assert.equal(client.state === 'ready', isServed);
}

function play(actions: readonly Action[]): [Supervised, Witness[]] {
  const world = supervised({ silentMsMax: 10_000, waitingRequests: 20, waitingTokens: 10_000 }, engines);
  const witnesses: Witness[] = [];
  world.engine(0).ready();
  for (const one of actions) {
    perform(world, witnesses, one);
    checkInvariants(world, witnesses);
  }
  return [world, witnesses];
}

test('whatever dies, every sequence ends exactly once, with every token in its place', () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 150 }), (actions) => {
      const [world, witnesses] = play(actions);
      for (let turn = 0; turn < 3; turn++) {
        for (const i of everyEngine) if (world.client.engines[i]!.state !== 'ready') world.engine(i).ready();
        for (let step = 0; step < 60; step++) for (const i of everyEngine) world.engine(i).step();
        world.time.advance(75_000);
      }
      checkInvariants(world, witnesses);
      assert.ok(
        witnesses.every(({ ends }) => ends.length === 1),
        'a sequence never ended',
      );
    }),
    { numRuns: 500 },
  );
});

test('close ends every sequence exactly once, whatever happened before', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 60 }), async (actions) => {
      const [world, witnesses] = play(actions);
      const closed = world.client.close(500);
      for (let step = 0; step < 3; step++) for (const i of everyEngine) world.engine(i).step();
      checkInvariants(world, witnesses);
      world.time.advance(500);
      for (let turn = 0; turn < 5; turn++) await Promise.resolve();
      world.time.advance(10_000);
      await closed;
      assert.ok(witnesses.every(({ ends }) => ends.length === 1));
      assert.ok(everyEngine.every((i) => !world.engine(i).alive));
      assert.equal(world.client.state, 'stopped');
    }),
    { numRuns: 300 },
  );
});

type Traffic = { readonly slots: number; readonly adapters: number; readonly load: number; readonly seed: number };

/**
 * Sends traffic to adapters by a power law, at `load` times the engines' capacity. @returns the share of sequences that
 * found their adapter in memory
 */
function residency(count: number, { slots, adapters, load, seed }: Traffic): { share: number; spread: number[] } {
  const world = supervised({ waitingRequests: 10_000, waitingTokens: 1_000_000 }, count);
  for (let i = 0; i < count; i++) {
    world.engine(i).adaptersMax = Math.ceil((1.5 * adapters) / count);
    world.engine(i).ready(slots);
  }
  const random = prng(seed);
  const weights = Array.from({ length: adapters }, (_, i) => 1 / (i + 1) ** 0.8);
  const sum = weights.reduce((a, b) => a + b);
  const draw = () => {
    let left = random() * sum;
    return Math.max(
      0,
      weights.findIndex((weight) => {
        left -= weight;
        return left < 0;
      }),
    );
  };
  const tokens = 10;
  let owed = 0;
  let before: { found: number; loaded: number } | null = null;
  const counts = () => {
    const each = everyOf(count).map((i) => world.engine(i).adapters);
    return { found: total(each.map(({ found }) => found)), loaded: total(each.map(({ loaded }) => loaded)) };
  };
  for (let step = 0; step < 1500; step++) {
    // The first steps, in which adapters are loaded for the first time, do not count.
    if (step === 500) before = counts();
    for (owed += (load * count * slots) / tokens; owed >= 1; owed--) {
      world.submit(tokens, 4, { adapters: adapterOf(draw()), share: shareOf(Math.floor(random() * 4)) });
    }
    for (const i of everyOf(count)) world.engine(i).step();
    world.time.advance(10);
  }
  const [found, loaded] = [counts().found - before!.found, counts().loaded - before!.loaded];
  const spread = everyOf(count).map((i) => world.engine(i).adapters.found + world.engine(i).adapters.loaded);
  return { share: found / (found + loaded), spread };
}

const everyOf = (count: number) => [...Array(count).keys()];
const total = (numbers: readonly number[]) => numbers.reduce((sum, one) => sum + one, 0);

test('requests go where their adapter is: of 100, 95 find it, while each engine has work', () => {
  for (const seed of [1, 2]) {
    for (const load of [0.3, 0.85]) {
      const { share, spread } = residency(4, { slots: 8, adapters: 64, load, seed });
      const label = `seed ${seed}, load ${load}: ${share}, ${spread}`;
      assert.ok(share >= 0.95, label);
      assert.ok(Math.min(...spread) > 0.5 * (total(spread) / 4), label);
    }
  }
});

test('no row stands idle while sequences wait elsewhere, and the oldest of them go first', () => {
  const world = supervised({ waitingRequests: 100, waitingTokens: 10_000 }, 2);
  world.engine(0).ready();
  const all = Array.from({ length: 9 }, () => world.submit(4, 4, { adapters: adapterOf(1) }));
  world.engine(0).step();
  world.engine(1).ready();
  for (const i of [0, 1]) world.engine(i).step();
  world.engine(1).step();
  assert.deepEqual([world.engine(0).running, world.engine(1).running], [2, 2]);
  assert.deepEqual(
    all.map(({ starts }) => starts),
    [1, 1, 1, 1, 0, 0, 0, 0, 0],
  );
  for (let step = 0; step < 20; step++) for (const i of [0, 1]) world.engine(i).step();
  assert.ok(all.every(({ tokens, ends }) => tokens.length === 4 && ends[0]?.reason === 'length'));
});

test('a tenant whose adapter lives on a crowded engine has its share of all engines, and never starves', () => {
  const world = supervised({ waitingRequests: 5000, waitingTokens: 1_000_000 }, 2);
  for (const i of [0, 1]) world.engine(i).ready(4);
  const [flood, other] = [0, 1];
  const submit = (flow: number, adapter: number) =>
    world.submit(10, 4, { adapters: adapterOf(adapter), share: shareOf(flow) });
  submit(other, 100);
  for (const i of [0, 1]) world.engine(i).step();
  for (let i = 0; i < 400; i++) submit(flood, i % 4);
  const waiting: Witness[] = [];
  const servedOf = (flow: number) => total([0, 1].map((i) => world.engine(i).served.get(flow) ?? 0));
  const before = [flood, other].map(servedOf);
  for (let step = 0; step < 300; step++) {
    // The other flow always has more sequences than its half of the rows.
    while (waiting.filter(({ ends }) => ends.length === 0).length < 8) waiting.push(submit(other, 100));
    for (const i of [0, 1]) world.engine(i).step();
    world.time.advance(10);
  }
  const [much, own] = [flood, other].map((flow, i) => servedOf(flow) - before[i]!);
  assert.ok(own! > 0.4 * (own! + much!), `${own} of ${own! + much!}`);
});

test('a dead engine costs what ran on it: the others serve on, and take what waited there', () => {
  const world = supervised({}, 2);
  for (const i of [0, 1]) world.engine(i).ready();
  const all = Array.from({ length: 8 }, (_, i) => world.submit(6, 4, { adapters: adapterOf(i % 2) }));
  for (const i of [0, 1]) world.engine(i).step();
  world.engine(1).die();
  assert.equal(world.client.state, 'ready');
  assert.deepEqual(
    world.client.engines.map(({ state }) => state),
    ['ready', 'restarting'],
  );
  const lost = all.filter(({ ends }) => ends[0]?.error?.code === 'engine_failed');
  assert.equal(lost.length, 2);
  world.submit(6);
  for (let step = 0; step < 40; step++) world.engine(0).step();
  assert.equal(all.filter(({ ends }) => ends[0]?.reason === 'length').length, 6);
  world.time.advance(60_000);
  world.engine(1).ready();
  assert.equal(world.client.restarts, 1);
  const later = world.submit(1);
  for (const i of [0, 1]) world.engine(i).step();
  assert.equal(later.ends[0]?.reason, 'length');
});

test('a request that kills engines is refused whichever engine it would go to', () => {
  const world = supervised({}, 3);
  for (const i of [0, 1, 2]) world.engine(i).ready();
  for (let death = 0; death < 2; death++) {
    const deadly = world.submit(5, 7);
    for (const i of [0, 1, 2]) world.engine(i).step();
    const at = [0, 1, 2].find((i) => world.engine(i).alive && world.engine(i).running > 0)!;
    world.engine(at).die();
    assert.equal(deadly.ends[0]?.error?.code, 'engine_failed');
  }
  assert.throws(
    () => world.submit(5, 7),
    (error: LorikeetError) => error.code === 'request_quarantined',
  );
  world.submit(5, 6);
});

test('the start waits for every engine; one that cannot start keeps no other from serving', async () => {
  const world = supervised({}, 2);
  world.engine(0).ready();
  assert.equal(world.client.state, 'ready');
  let isReady = false;
  world.client.ready.then(() => {
    isReady = true;
  });
  await Promise.resolve();
  assert.equal(isReady, false);
  world.engine(1).fail('model_unsupported', 'no');
  const info = await world.client.ready;
  assert.equal(info.maxSequences, 2);
  const all = Array.from({ length: 4 }, () => world.submit(2));
  for (let step = 0; step < 5; step++) world.engine(0).step();
  assert.ok(all.every(({ ends }) => ends[0]?.reason === 'length'));
});

test('where no engine can start, the start fails with the cause', async () => {
  const world = supervised({}, 2);
  for (const i of [0, 1]) world.engine(i).fail('model_unsupported', 'no');
  await assert.rejects(world.client.ready, (error: LorikeetError) => error.code === 'model_unsupported');
  assert.equal(world.client.state, 'starting');
});

test('blocks of two lengths are counted together as blocks of the lesser one', () => {
  const inRows = { ...testInfo, kv: { blockTokens: 64, blocks: 3 } };
  assert.deepEqual(joinInfo([inRows, testInfo]).kv, { blockTokens: 32, blocks: 2 * 3 + 4 });
});

test('what holds for all: the sum of rows, the sum of what engines say, the nearest place of an adapter', () => {
  const world = supervised({}, 2);
  for (const i of [0, 1]) world.engine(i).ready(i + 2);
  assert.equal(world.client.info?.maxSequences, 5);
  assert.deepEqual(world.client.info?.kv, { blockTokens: 32, blocks: 8 });
  world.submit(4, 4, { adapters: adapterOf(7) });
  for (const i of [0, 1]) world.engine(i).step();
  assert.equal(world.client.tierOf('sha256:7'), 'memory');
  assert.equal(world.client.tierOf('sha256:8'), 'disk');
  assert.equal(world.client.stats.steps, 2);
  assert.equal(world.client.stats.adapters.resident, 1);
  assert.deepEqual(
    world.client.engines.map(({ name, stats }) => [name, stats.running]),
    [
      ['cuda:0', 1],
      ['cuda:1', 0],
    ],
  );
});
