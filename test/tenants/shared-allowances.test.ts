// Quotas that several servers count together, over a table in memory and a clock that the test sets.

import assert from 'node:assert/strict';
import test from 'node:test';
import { prng } from '../../src/core/prng.ts';
import type { RateTable } from '../../src/storage/rate-table.ts';
import type { RateLevelRow } from '../../src/storage/tables.ts';
import type { Allowance, Allowances } from '../../src/tenants/allowances.ts';
import { sharedAllowances } from '../../src/tenants/shared-allowances.ts';
import { type VirtualTime, virtualTime } from '../fixtures/virtual-time.ts';

const minuteMs = 60_000;

/** The table as PostgreSQL has it, with a clock of its own. */
function fakeTable(time: VirtualTime) {
  const rows = new Map<string, RateLevelRow>();
  const state = { isAway: false, servers: 3, asked: 0 };
  const settle: RateTable['settle'] = async (first, change) => {
    state.asked++;
    await new Promise(setImmediate);
    if (state.isAway) throw new Error('away');
    const now = 1e12 + time.now();
    for (const [id, level] of first) {
      rows.set(id, change(rows.get(id) ?? { id, level, at: now, leases: null }, now));
    }
    return state.servers;
  };
  return { ...state, state, rows, table: { settle } as RateTable };
}

function replicas(count: number) {
  const time = virtualTime();
  const fake = fakeTable(time);
  const open = (owner: string) =>
    sharedAllowances({ table: fake.table, clock: time, timers: time, log: { warn: () => {} }, owner });
  const servers = Array.from({ length: count }, (_, i) => open(`server-${i}`));
  return { time, fake, servers, open };
}

/** Waits until those who wait for the table have continued. */
async function settled(): Promise<void> {
  for (let i = 0; i < 12; i++) await new Promise(setImmediate);
}

/** @returns whether the amount was taken */
async function tryTake(server: Allowances, allowance: Allowance, amount: number): Promise<boolean> {
  for (let i = 0; i < 5; i++) {
    const asked = server.ready(allowance, amount);
    if (asked === null) break;
    await asked;
  }
  if (server.level(allowance) < amount) return false;
  server.take(allowance, amount);
  return true;
}

const rate = (most: number): Allowance => ({ id: 'tenant t requests', most, perMinute: most });
const places = (most: number): Allowance => ({ id: 'tenant t sequences', most, perMinute: null });

test('a burst at three servers gets one quota, and what comes in by the minute after that', async () => {
  const { time, servers, fake } = replicas(3);
  let given = 0;
  for (let i = 0; i < 300; i++) if (await tryTake(servers[i % 3]!, rate(100), 1)) given++;
  assert.equal(given, 100);
  // Refusals do not read the database.
  assert.ok(fake.state.asked < 60, `${fake.state.asked} questions`);
  for (let second = 0; second < 60; second++) {
    time.advance(1000);
    await settled();
    for (let i = 0; i < 9; i++) if (await tryTake(servers[i % 3]!, rate(100), 1)) given++;
  }
  assert.ok(given > 185 && given <= 200, `${given}`);
});

test('random histories: never more than the quota, and nearly all of it to who asks for it', async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = prng(seed);
    const { time, servers, fake, open } = replicas(3);
    const most = 1 + Math.floor(random() * 200);
    const began = time.now();
    let given = 0;
    let refused = 0;
    const pace = Math.ceil((2 * most) / 60);
    for (let second = 0; second < 90; second++) {
      for (let i = 0; i < pace + (random() < 0.1 ? most : 0); i++) {
        const server = servers[Math.floor(random() * 3)]!;
        if (await tryTake(server, rate(most), 1)) given++;
        else refused++;
        const bound = most + ((time.now() - began) * most) / minuteMs;
        assert.ok(given <= bound + 1e-6, `seed ${seed}: ${given} of ${bound}`);
      }
      time.advance(random() * 1500);
      await settled();
      // A server dies without returning its part, and another one starts.
      if (random() < 0.02) servers[Math.floor(random() * 3)] = open(`server-${seed}-${second}`);
    }
    const [row] = fake.rows.values();
    const bound = most + ((time.now() - began) * most) / minuteMs;
    const lost = 0.3 * bound + 6;
    if (refused > most) assert.ok(given >= bound - lost, `seed ${seed}: ${given} of ${bound}: ${JSON.stringify(row)}`);
  }
});

test('places: all servers together run no more than the limit, and those of a dead server are free again', async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = prng(seed);
    const { time, servers } = replicas(3);
    const most = 3 + Math.floor(random() * 20);
    const running = [0, 0, 0];
    const sum = () => running.reduce((a, b) => a + b, 0);
    for (let i = 0; i < 200; i++) {
      const at = Math.floor(random() * 3);
      if (running[at]! > 0 && random() < 0.5) {
        servers[at]!.take(places(most), -1);
        running[at]!--;
      } else if (await tryTake(servers[at]!, places(most), 1)) {
        running[at]!++;
      }
      assert.ok(sum() <= most, `seed ${seed}: ${running} of ${most}`);
      if (random() < 0.2) time.advance(700);
      await settled();
    }
  }
  const { time, servers } = replicas(2);
  const [dead, alive] = servers as [Allowances, Allowances];
  for (let i = 0; i < 4; i++) assert.equal(await tryTake(dead, places(4), 1), true);
  assert.equal(await tryTake(alive, places(4), 1), false);
  // Nobody renews its lease, which ends.
  await dead.close();
  time.advance(11_000);
  await settled();
  assert.equal(await tryTake(alive, places(4), 4), true);
});

test('what nobody uses goes back within seconds; what a server took and left unsaid is lost at most', async () => {
  const { time, servers } = replicas(2);
  const [a, b] = servers as [Allowances, Allowances];
  assert.equal(await tryTake(a, rate(100), 1), true);
  for (let i = 0; i < 3; i++) {
    time.advance(1000);
    await settled();
  }
  assert.equal(await tryTake(b, rate(100), 100), true);
  assert.equal(await tryTake(a, rate(100), 2), false);
  assert.ok(a.msUntil(rate(100), 2) > 0);
});

test('what was generated beyond the quota is a debt at every server', async () => {
  const { time, servers } = replicas(3);
  const [a, b] = servers as [Allowances, Allowances, Allowances];
  assert.equal(await tryTake(a, rate(60), 1), true);
  a.take(rate(60), 119);
  time.advance(1000);
  await settled();
  assert.equal(await tryTake(b, rate(60), 1), false);
  assert.ok(b.left(rate(60)) < -50);
  time.advance(70_000);
  await settled();
  assert.equal(await tryTake(b, rate(60), 1), true);
});

test('while the database is away each server goes on with its share; afterwards all of it is counted', async () => {
  const { time, servers, fake } = replicas(3);
  const allowance = rate(90);
  for (const server of servers) assert.equal(await tryTake(server, allowance, 1), true);
  fake.state.isAway = true;
  for (let i = 0; i < 12; i++) {
    time.advance(1000);
    await settled();
  }
  let given = 0;
  for (let i = 0; i < 300; i++) if (await tryTake(servers[i % 3]!, allowance, 1)) given++;
  assert.ok(given > 20 && given <= 90, `${given}`);
  assert.ok(servers[0]!.left(allowance) < 1);
  fake.state.isAway = false;
  for (let i = 0; i < 2; i++) {
    time.advance(1000);
    await settled();
  }
  const left = Math.max(...servers.map((server) => server.left(allowance)));
  assert.ok(left <= 90 + 2 * 1.5 - given, `${left} left`);
});
