import assert from 'node:assert/strict';
import test from 'node:test';
import { prng } from '../../src/core/prng.ts';
import { usageTable } from '../../src/storage/usage-table.ts';
import { noUse, usageOf } from '../../src/tenants/usage.ts';
import { virtualTime } from '../fixtures/virtual-time.ts';
import { eventsOf, listen, type TestApp, testApp } from '../helpers/app.ts';
import { newDatabase } from '../helpers/test-database.ts';
import { upload } from '../helpers/test-registry.ts';

type Sums = { requests: number; prompt: number; completion: number };
type Books = Map<string | null, Sums>;

function add(books: Books, digest: string | null, { requests, prompt, completion }: Sums): void {
  const known = books.get(digest) ?? { requests: 0, prompt: 0, completion: 0 };
  books.set(digest, {
    requests: known.requests + requests,
    prompt: known.prompt + prompt,
    completion: known.completion + completion,
  });
}

/** Reads all pages of /v1/usage. */
async function told({ app }: TestApp, key: string, query = ''): Promise<Books> {
  const books: Books = new Map();
  const headers = { authorization: `Bearer ${key}` };
  for (let page = ''; ; ) {
    const { data, next_page } = (await app.inject({ url: `/v1/usage?limit=1${query}${page}`, headers })).json();
    for (const row of data) {
      const { requests, prompt_tokens: prompt, completion_tokens: completion } = row;
      add(books, row.adapter_digest, { requests, prompt, completion });
    }
    if (next_page === null) return books;
    page = `&page=${encodeURIComponent(next_page)}`;
  }
}

test('usage equals the sum of all answers, over 10,000 mixed requests with aborts and kills', async (t) => {
  const random = prng(5);
  const below = (limit: number) => Math.floor(random() * limit);
  const says = ({ promptTokens }: { promptTokens: readonly number[] }) =>
    Buffer.from('y'.repeat(1 + (promptTokens.length % 7)));
  const server = await testApp(t, { slots: 24, script: says });
  const { engine, registry, service } = server;
  const tenants = ['a', 'b', 'c', 'leavers'];
  const keys = await Promise.all(
    tenants.map(async (tenant) => (await server.keys.create({ tenant, name: 'k', scopes: ['generate'] })).key),
  );
  const digests = await Promise.all(
    tenants.map(async (tenant, i) => (await upload(registry, 'mine', 1 + i, { tenant })).adapter.digest),
  );
  const expected: Books[] = tenants.map(() => new Map());
  const url = `http://127.0.0.1:${await listen(server.app)}`;

  // Only the engine knows what callers who left had used.
  const leavers = service.shareOf({ tenant: 'leavers', keyPrefix: null }).flow;
  const submit = engine.submit;
  engine.submit = (asked, listener) => {
    let isStarted = false;
    return submit(asked, {
      ...listener,
      onStart() {
        isStarted = true;
        listener.onStart?.();
      },
      onEnd(end) {
        const counts = isStarted && end.reason !== 'error' && asked.share!.flow === leavers;
        if (counts)
          add(expected[3]!, null, { requests: 1, prompt: end.promptTokens, completion: end.completionTokens });
        listener.onEnd(end);
      },
    });
  };

  let [answered, left, failed] = [0, 0, 0];
  const leave = async (): Promise<void> => {
    const gone = new AbortController();
    const answer = fetch(`${url}/v1/completions`, {
      ...{ method: 'POST', body: '{"prompt":"abc","max_tokens":9,"ignore_eos":true}', signal: gone.signal },
      headers: { authorization: `Bearer ${keys[3]}`, 'content-type': 'application/json' },
    });
    setTimeout(() => gone.abort(), below(8));
    await answer.then((response) => response.text()).catch(() => left++);
  };
  const ask = async (): Promise<void> => {
    const who = below(3);
    const isAdapted = random() < 0.5;
    const [stream, isChat] = [random() < 0.4, random() < 0.5];
    const text = 'p'.repeat(1 + below(30));
    const body = {
      ...(isChat
        ? { messages: [{ role: 'user', content: text }] }
        : { prompt: random() < 0.3 ? [text, `${text}q`, text] : text }),
      ...(isAdapted ? { model: 'mine' } : {}),
      ...{ max_tokens: 1 + below(9), n: 1 + below(3), stream },
      ...(random() < 0.2 ? { stop: 'yyy' } : {}),
      ...(stream ? { stream_options: { include_usage: true } } : {}),
    };
    const { statusCode, body: answer } = await server.app.inject({
      ...{ method: 'POST', url: isChat ? '/v1/chat/completions' : '/v1/completions', payload: body },
      headers: { authorization: `Bearer ${keys[who]}` },
    });
    const events = stream ? eventsOf(answer) : [];
    const usage = (stream ? (events.at(-2) as never) : JSON.parse(answer))?.usage;
    if (statusCode !== 200 || !usage || (stream && events.at(-1) !== '[DONE]')) {
      failed++;
      return;
    }
    answered++;
    const sums = { requests: 1, prompt: usage.prompt_tokens, completion: usage.completion_tokens };
    add(expected[who]!, isAdapted ? digests[who]! : null, sums);
  };
  let todo = 10_000;
  const callers = Array.from({ length: 32 }, async () => {
    while (todo-- > 0) {
      if (todo % 250 === 0) {
        engine.crash();
        engine.recover();
      }
      await (random() < 0.1 ? leave() : ask());
    }
  });
  await Promise.all(callers);
  while (engine.stats.running + engine.stats.waiting > 0) await new Promise(setImmediate);
  await service.usage.close();
  t.diagnostic(`${answered} answered, ${left} whose callers left, ${failed} failed`);
  for (const [i, key] of keys.entries()) assert.deepEqual(await told(server, key), expected[i], tenants[i]!);
  assert.ok(answered > 5000 && left > 100 && failed > 20, `${answered}, ${left}, ${failed}`);
});

test('by minute, from a time to a time, and nobody sees what another tenant used', async (t) => {
  const time = virtualTime();
  const server = await testApp(t, { says: 'xy', deps: { clock: time } });
  const [key, other] = await Promise.all(
    ['a', 'b'].map(async (tenant) => (await server.keys.create({ tenant, name: 'k', scopes: ['generate'] })).key),
  );
  const headers = { authorization: `Bearer ${key}` };
  for (let minute = 0; minute < 3; minute++) {
    await server.post('/v1/generate', { prompt: 'abc', max_tokens: 2 }, headers);
    time.advance(60_000);
  }
  const { data } = (await server.app.inject({ url: '/v1/usage', headers })).json();
  assert.deepEqual(
    data.map((row: { start_time: number; requests: number }) => [row.start_time, row.requests]),
    [
      [0, 1],
      [60, 1],
      [120, 1],
    ],
  );
  const some = await told(server, key!, '&start_time=60&end_time=120');
  assert.equal(some.get(null)!.requests, 1);
  assert.deepEqual(await told(server, other!), new Map());
  assert.equal((await server.app.inject({ url: '/v1/usage?page=x', headers })).statusCode, 400);
});

test('an operator reads what one tenant used, or all, page after page', async (t) => {
  const server = await testApp(t, { says: 'xy' });
  const tenants = ['a', 'b', 'c'];
  const { key } = await server.keys.create({ tenant: 'ops', name: 'k', scopes: ['operator'] });
  for (const tenant of tenants) {
    const own = await server.keys.create({ tenant, name: 'k', scopes: ['generate'] });
    await server.post('/v1/generate', { prompt: 'abc', max_tokens: 2 }, { authorization: `Bearer ${own.key}` });
  }
  const headers = { authorization: `Bearer ${key}` };
  const seen: string[] = [];
  for (let page: string | null = ''; page !== null; ) {
    const more: string = page === '' ? '' : `&page=${encodeURIComponent(page)}`;
    const { data, next_page } = (await server.app.inject({ url: `/v1/admin/usage?limit=1${more}`, headers })).json();
    for (const { tenant, requests } of data) seen.push(`${tenant} ${requests}`);
    page = next_page;
  }
  // The rows may be of one minute or of two, and only within a minute are they in the order of tenants.
  assert.deepEqual(seen.toSorted(), ['a 1', 'b 1', 'c 1']);
  const { data } = (await server.app.inject({ url: '/v1/admin/usage?tenant=b', headers })).json();
  assert.deepEqual(
    data.map(({ tenant }: { tenant: string }) => tenant),
    ['b'],
  );
});

test('a database that takes no write holds up nobody, and is told everything later', async (t) => {
  const time = virtualTime();
  const database = await newDatabase();
  t.after(() => database.destroy());
  const table = usageTable(database);
  let isBroken = true;
  let complaints = 0;
  const usage = usageOf({
    table: { ...table, add: (rows) => (isBroken ? Promise.reject(new Error('locked')) : table.add(rows)) },
    ...{ clock: time, timers: time, log: { error: () => void complaints++ } },
  });
  const use = { ...noUse, tenant: 'a', requests: 1, completionTokens: 5 };
  for (let i = 0; i < 10; i++) await usage.record(use);
  assert.equal(complaints, 1);
  const page = { from: 0, to: 99, after: null, limit: 9 };
  assert.deepEqual(await usage.list('a', page), []);
  isBroken = false;
  time.advance(1000);
  await usage.close();
  const [row] = await usage.list('a', page);
  assert.deepEqual([row?.requests, row?.completion_tokens], [10, 50]);
});
