import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limits } from '../../src/core/limits.ts';
import { activeAdapters } from '../../src/metrics/active-adapters.ts';
import { boundedNames } from '../../src/metrics/bounded-names.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { idleReading } from './idle-reading.ts';

const asked = (...names: string[]) => ({ tenant: 'a', names });

function measured(resident = 0) {
  const metrics = createMetrics({ modelName: 'm', processMetrics: false });
  let nowSeconds = 100;
  metrics.readEngine(() => ({ ...idleReading, ready: true }));
  metrics.readAdapters(() => ({
    ...{ resident, residentBytes: 0, pagesUsed: 0, pagesTotal: 0, evictions: 0 },
    ...{ adaptersMax: 16, nowSeconds: nowSeconds++ },
  }));
  const infos = async (viewer: string | null = null) =>
    (await metrics.text(viewer)).split('\n').filter((line) => line.startsWith('vllm:lora_requests_info{'));
  return { metrics, infos };
}

test('a gateway reads one series: which adapters run and wait, by the names that were asked for', async () => {
  const { metrics, infos } = measured();
  assert.deepEqual(await infos(), [
    'vllm:lora_requests_info{model_name="m",max_lora="16",running_lora_adapters="",waiting_lora_adapters=""} 100',
  ]);
  const first = metrics.adaptersQueued(asked('a', 'b:prod'));
  const second = metrics.adaptersQueued(asked('a'));
  first.runs();
  const [info, ...more] = await infos();
  assert.deepEqual(more, []);
  assert.match(info!, /running_lora_adapters="a,b:prod",waiting_lora_adapters="a"/);
  first.runs();
  first.ends();
  second.ends();
  second.ends();
  assert.match((await infos())[0]!, /running_lora_adapters="",waiting_lora_adapters=""/);
});

test('the list of names has an end', () => {
  const active = activeAdapters();
  for (let i = 0; i < 1000; i++) active.queued(asked(`adapter-${i}`)).runs();
  assert.equal(active.running(null, 1000).split(',').length, limits.metricsActiveAdapters);
});

test('the first names have series of their own; one that is idle gives its to a new one', () => {
  const dropped: string[] = [];
  const labelOf = boundedNames({ namesMax: 2, idleMs: 10, onDrop: (name) => dropped.push(name) });
  assert.deepEqual([labelOf('a', 0), labelOf('b', 1), labelOf('c', 2), labelOf('a', 9)], ['a', 'b', 'other', 'a']);
  assert.equal(labelOf('c', 10), 'other');
  assert.equal(labelOf('c', 11), 'c');
  assert.deepEqual(dropped, ['b']);
  assert.equal(labelOf('b', 12), 'other');
});

test('a thousand adapters make a bounded number of series', async () => {
  const { metrics } = measured();
  for (let i = 0; i < 1000; i++) metrics.adaptersAsked(asked(`adapter-${i}`), i);
  const lines = (await metrics.text(null))
    .split('\n')
    .filter((line) => line.startsWith('lorikeet_adapter_requests_total{'));
  assert.equal(lines.length, limits.metricsAdapters + 1);
  assert.ok(
    lines.includes(`lorikeet_adapter_requests_total{tenant="",adapter="other"} ${1000 - limits.metricsAdapters}`),
  );
});

test('what was used is counted once for several adapters together, and for the base under no name', async () => {
  const { metrics } = measured();
  const tokens = { promptTokens: 3, completionTokens: 5 };
  metrics.used({ tenant: 'a', names: ['x', 'y'] }, tokens, 0);
  metrics.used({ tenant: 'a', names: [] }, tokens, 0);
  metrics.used({ tenant: 'a', names: [] }, tokens, 0);
  const lines = (await metrics.text('a')).split('\n');
  for (const line of [
    'lorikeet_tenant_requests_total{tenant="a",adapter="x+y"} 1',
    'lorikeet_tenant_requests_total{tenant="a",adapter=""} 2',
    'lorikeet_tenant_generation_tokens_total{tenant="a",adapter=""} 10',
  ]) {
    assert.ok(lines.includes(line), line);
  }
  assert.ok(!(await metrics.text('b')).includes('tenant="a"'));
});

test('what was used last and is in memory is told to run there: its next request finds it', async () => {
  const { metrics, infos } = measured(2);
  for (const name of ['a', 'b', 'c']) {
    const place = metrics.adaptersQueued(asked(name));
    place.runs();
    place.ends();
  }
  assert.match((await infos())[0]!, /running_lora_adapters="c,b",/);
});

test("adapters are named to who may see them: a tenant's own, or all to an operator", async () => {
  const { metrics, infos } = measured(8);
  for (const [tenant, name] of [
    ['a', 'secret-of-a'],
    ['b', 'secret-of-b'],
  ] as const) {
    metrics.adaptersQueued({ tenant, names: [name] }).runs();
    metrics.adaptersAsked({ tenant, names: [name] }, 0);
  }
  const texts = await Promise.all(['a', 'b', 'c', null].map((viewer) => metrics.text(viewer)));
  const sees = (text: string) => ['secret-of-a', 'secret-of-b'].map((name) => text.includes(name));
  assert.deepEqual(texts.map(sees), [
    [true, false],
    [false, true],
    [false, false],
    [true, true],
  ]);
  assert.match((await infos('a'))[0]!, /running_lora_adapters="secret-of-a"/);
});
