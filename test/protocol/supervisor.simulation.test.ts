// Random traffic with random deaths: every sequence ends exactly once. fast-check prints the seed and the shortest
// failing history.

import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { LorikeetError } from '../../src/core/errors.ts';
import { type Supervised, supervised, type Witness } from './supervised.ts';

const action = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('submit'), tokens: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('step') }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('abort'), which: fc.nat(30) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('ready') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('die') }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('restart') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('hang') }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('wait'), ms: fc.constantFrom(100, 1000, 20_000) }) },
);
type Action = { do: string; tokens?: number; which?: number; ms?: number };

function perform(world: Supervised, witnesses: Witness[], { do: what, tokens, which, ms }: Action): void {
  if (what === 'submit') {
    try {
      witnesses.push(world.submit(tokens));
    } catch (error) {
      assert.ok(error instanceof LorikeetError, String(error));
      // Requests of as many tokens are the same request, which is refused after two deaths over it.
      assert.ok(error.status === 503 || error.code === 'request_quarantined', String(error));
    }
  } else if (what === 'step') world.engine().step();
  else if (what === 'abort') abort(witnesses[which! % Math.max(witnesses.length, 1)]);
  else if (what === 'ready') world.engine().ready();
  else if (what === 'die') world.engine().die();
  else if (what === 'restart') restart(world);
  else if (what === 'hang') world.engine().hangs = true;
  else world.time.advance(ms!);
}

const aborted = new WeakSet<Witness>();

function abort(witness: Witness | undefined): void {
  if (witness === undefined) return;
  if (witness.ends.length === 0) aborted.add(witness);
  witness.abort();
}

function restart({ engine, time }: Supervised): void {
  engine().die();
  // Longer than any wait before a restart, even that of an open circuit.
  time.advance(61_000);
  engine().ready();
}

function checkInvariants({ client, engines }: Supervised, witnesses: Witness[]): void {
  const open = witnesses.filter(({ ends }) => ends.length === 0);
  assert.equal(client.stats.running + client.stats.waiting, open.length, 'the book and the callers disagree');
  assert.equal(client.stats.running, open.filter(({ starts }) => starts === 1).length);
  for (const witness of witnesses) {
    assert.ok(witness.ends.length <= 1 && witness.starts <= 1);
    if (aborted.has(witness)) assert.notEqual(witness.ends[0]?.reason, 'error', 'an abort was reported as a failure');
  }
  for (const id of new Set(engines.flatMap(({ submitted }) => submitted))) {
    const engineCount = engines.filter(({ submitted }) => submitted.includes(id)).length;
    assert.ok(engineCount <= 2, `sequence ${id} was given to ${engineCount} engines`);
  }
  assert.ok(engines.filter(({ alive }) => alive).length <= 1, 'two engines live at once');
}

function play(actions: readonly Action[]): [Supervised, Witness[]] {
  const world = supervised({ silentMsMax: 10_000, waitingRequests: 6 });
  const witnesses: Witness[] = [];
  world.engine().ready();
  for (const one of actions) {
    perform(world, witnesses, one);
    checkInvariants(world, witnesses);
  }
  return [world, witnesses];
}

const endedOnce = (witnesses: readonly Witness[]) => witnesses.every(({ ends }) => ends.length === 1);

test('every sequence ends exactly once when the engine works again, and none is replayed twice', () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 120 }), (actions) => {
      const [world, witnesses] = play(actions);
      // A hanging engine is found by its silence, and a dead one is restarted: time alone mends both.
      for (let turn = 0; turn < 3; turn++) {
        if (world.client.state !== 'ready') world.engine().ready();
        for (let step = 0; step < 50; step++) world.engine().step();
        world.time.advance(75_000);
      }
      checkInvariants(world, witnesses);
      assert.ok(endedOnce(witnesses), 'a sequence never ended');
    }),
    { numRuns: 500 },
  );
});

test('close ends every sequence exactly once, whatever happened before', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 60 }), async (actions) => {
      const [world, witnesses] = play(actions);
      const closed = world.client.close(500);
      world.time.advance(500);
      for (let turn = 0; turn < 5; turn++) await Promise.resolve();
      world.time.advance(10_000);
      await closed;
      assert.ok(endedOnce(witnesses));
      assert.equal(world.engine().alive, false);
      assert.equal(world.client.state, 'stopped');
    }),
    { numRuns: 300 },
  );
});
