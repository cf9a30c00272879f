import assert from 'node:assert/strict';
import test from 'node:test';
import { LorikeetError } from '../../src/core/errors.ts';
import { defaultSamplingParams } from '../../src/core/sampling-params.ts';
import { supervised } from './supervised.ts';

const refusal = (code: string) => (error: unknown) => error instanceof LorikeetError && error.code === code;

test('a sequence starts, gives its tokens in order and ends once', () => {
  const { client, engine, submit } = supervised();
  assert.equal(client.state, 'starting');
  engine().ready();
  const witness = submit(3);
  for (let step = 0; step < 5; step++) engine().step();
  assert.deepEqual(witness.tokens, [1, 2, 3]);
  assert.deepEqual(
    witness.ends.map(({ reason }) => reason),
    ['length'],
  );
  assert.equal(client.stats.running + client.stats.waiting, 0);
});

test('nothing is taken before the engine was ready', () => {
  const { submit } = supervised();
  assert.throws(() => submit(), refusal('engine_unavailable'));
});

test('a death ends what ran with engine_failed, and serves what waited by the next engine', () => {
  const { client, engine, engines, submit, time } = supervised();
  engine().ready();
  const witnesses = [submit(), submit(), submit()];
  engine().step();
  engine().die();
  assert.equal(client.state, 'restarting');
  assert.deepEqual(
    witnesses.map(({ ends }) => ends[0]?.error?.code),
    ['engine_failed', 'engine_failed', undefined],
  );
  const late = submit();
  time.advance(1000);
  assert.equal(client.restarts, 1);
  engine().ready();
  assert.deepEqual(engines[1]?.submitted, [3, 4]);
  for (let step = 0; step < 3; step++) engine().step();
  assert.equal(witnesses[2]?.ends[0]?.reason, 'length');
  assert.equal(late.ends[0]?.reason, 'length');
});

test('a sequence that waited at two deaths is not given to a third engine', () => {
  const { engine, submit, time } = supervised();
  engine().ready();
  const witness = submit();
  engine().die();
  time.advance(1000);
  engine().ready();
  engine().die();
  assert.equal(witness.ends[0]?.error?.code, 'engine_failed');
});

test('a queue over its limit refuses with a Retry-After that follows the measured rate', () => {
  const { engine, submit, time } = supervised({ waitingRequests: 4 });
  engine().ready();
  // Two slots and one token each: two sequences leave the queue in a second.
  for (let second = 0; second < 10; second++) {
    submit(1);
    submit(1);
    time.advance(1000);
    engine().step();
  }
  for (let i = 0; i < 6; i++) submit(1);
  try {
    submit(1);
    assert.fail('the queue has no limit');
  } catch (error) {
    assert.ok(error instanceof LorikeetError && error.code === 'server_overloaded');
    assert.ok(error.retryAfterSeconds === 3 || error.retryAfterSeconds === 4, `${error.retryAfterSeconds} s`);
  }
});

test('waiting prompt tokens have a limit too, but one long prompt alone passes', () => {
  const { engine, submit } = supervised({ waitingTokens: 10 });
  engine().ready();
  submit(1, 50);
  assert.throws(() => submit(1, 1), refusal('server_overloaded'));
  engine().step();
  submit(1, 1);
});

test('an abort ends a held sequence at once, and a running one within a step', () => {
  const { engine, submit, time } = supervised();
  engine().ready();
  const running = submit(100);
  engine().step();
  running.abort();
  running.abort();
  engine().step();
  assert.equal(running.ends[0]?.reason, 'abort');
  engine().die();
  const held = submit();
  held.abort();
  assert.equal(held.ends[0]?.reason, 'abort');
  time.advance(1000);
  engine().ready();
  assert.deepEqual(engine().submitted, []);
});

test('an engine that names a permanent cause opens the circuit at once, with attempts far apart', async () => {
  const { client, engine, engines, submit, time } = supervised();
  engine().fail('model_unsupported', 'This model has experts.');
  await assert.rejects(client.ready, /experts/);
  assert.throws(() => submit(), /experts/);
  time.advance(59_000);
  assert.equal(engines.length, 1);
  time.advance(2000);
  assert.equal(engines.length, 2);
});

test('an engine that dies while it starts opens the circuit after four attempts; what waited is told', async () => {
  const { client, engine, submit, time } = supervised();
  engine().ready();
  const witness = submit();
  engine().die();
  for (let attempt = 0; attempt < 4; attempt++) {
    time.advance(10_000);
    assert.equal(witness.ends.length, 0);
    engine().die();
  }
  assert.equal(witness.ends[0]?.error?.code, 'engine_unavailable');
  assert.throws(() => submit(), refusal('engine_unavailable'));
  time.advance(60_000);
  engine().ready();
  assert.equal(client.state, 'ready');
  submit();
});

test('an engine that is silent while sequences run is killed', () => {
  const { client, engine, submit, time } = supervised({ silentMsMax: 5000 });
  engine().ready();
  const witness = submit();
  engine().step();
  engine().hangs = true;
  time.advance(4000);
  assert.equal(client.state, 'ready');
  time.advance(2000);
  assert.equal(client.state, 'restarting');
  assert.match(witness.ends[0]?.error?.message ?? '', /silent for 5 s/);
});

test('an engine whose sequences only wait for adapters answers when it is asked, and lives', () => {
  const { client, engine, submit, time } = supervised({ silentMsMax: 5000 });
  engine().ready();
  submit();
  engine().waits = true;
  time.advance(60_000);
  assert.equal(client.state, 'ready');
  engine().waits = false;
  engine().hangs = true;
  time.advance(5100);
  assert.equal(client.state, 'restarting');
});

test('an idle engine may be silent', () => {
  const { client, engine, submit, time } = supervised({ silentMsMax: 5000 });
  engine().ready();
  submit(1);
  engine().step();
  time.advance(600_000);
  assert.equal(client.state, 'ready');
});

test('close lets what was taken finish, refuses the rest, and stops the process', async () => {
  const { client, engine, submit } = supervised();
  engine().ready();
  const witnesses = [submit(2), submit(2), submit(2)];
  const closed = client.close(10_000);
  assert.throws(() => submit(), refusal('server_draining'));
  for (let step = 0; step < 4; step++) engine().step();
  await closed;
  assert.ok(witnesses.every(({ ends }) => ends[0]?.reason === 'length'));
  assert.deepEqual([client.state, engine().alive], ['stopped', false]);
});

test('close ends what does not finish in time, and kills a process that hangs', async () => {
  const { client, engine, submit, time } = supervised();
  engine().ready();
  const witness = submit(1000);
  engine().step();
  engine().hangs = true;
  const closed = client.close(1000);
  time.advance(1000);
  // The drain ends in a microtask, from which the time limit of the stop counts.
  await Promise.resolve();
  await Promise.resolve();
  time.advance(6000);
  await closed;
  assert.equal(witness.ends[0]?.error?.code, 'server_draining');
  assert.equal(engine().alive, false);
});

test('a faulty listener does not stop the others', () => {
  const { client, engine, submit } = supervised();
  engine().ready();
  client.submit(
    { promptTokens: [1], params: { ...defaultSamplingParams, maxTokens: 1 }, adapters: [] },
    {
      onToken: () => {
        throw new Error('a fault of the listener');
      },
      onEnd: () => {},
    },
  );
  const witness = submit(1);
  engine().step();
  assert.equal(witness.ends.length, 1);
});

test('every engine leaves the room that was asked for last', () => {
  const { client, engine, time } = supervised();
  const rooms = () => engine().commands.flatMap((command) => (command.type === 'room' ? [command.share] : []));
  client.leaveRoom(0.5);
  assert.deepEqual(rooms(), []);
  engine().ready();
  assert.deepEqual(rooms(), [0.5]);
  engine().die();
  time.advance(60_000);
  engine().ready();
  assert.deepEqual(rooms(), [0.5]);
  client.leaveRoom(0);
  assert.deepEqual(rooms(), [0.5, 0]);
  engine().die();
  time.advance(60_000);
  engine().ready();
  assert.deepEqual(rooms(), []);
});
