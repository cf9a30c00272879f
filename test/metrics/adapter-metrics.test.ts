import assert from 'node:assert/strict';
import { test } from 'node:test';
import { limits } from '../../src/core/limits.ts';
import { activeAdapters } from '../../src/metrics/active-adapters.ts';
import { boundedNames } from '../../src/metrics/bounded-names.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';

function measured() {
  const metrics = createMetrics({ modelName: 'm', processMetrics: false });
  let nowSeconds = 100;
  metrics.readEngine(() => ({ running: 0, waiting: 0, kvUsage: 0, restarts: 0, ready: true }));
  metrics.readAdapters(() => ({
    ...{ resident: 0, residentBytes: 0, pagesUsed: 0, pagesTotal: 0, evictions: 0 },
    ...{ adaptersMax: 16, nowSeconds: nowSeconds++ },
  }));
  const infos = async () =>
    (await metrics.text()).split('\n').filter((line) => line.startsWith('vllm:lora_requests_info{'));
  return { metrics, infos };
}

test('a gateway reads one series: which adapters run and wait, by the names that were asked for', async () => {
  const { metrics, infos } = measured();
  assert.deepEqual(await infos(), [
    'vllm:lora_requests_info{model_name="m",max_lora="16",running_lora_adapters="",waiting_lora_adapters=""} 100',
  ]);
  const first = metrics.adaptersQueued(['a', 'b:prod']);
  const second = metrics.adaptersQueued(['a']);
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
  for (let i = 0; i < 1000; i++) active.queued([`adapter-${i}`]).runs();
  assert.equal(active.running().split(',').length, limits.metricsActiveAdapters);
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
  for (let i = 0; i < 1000; i++) metrics.adaptersAsked([`adapter-${i}`], i);
  const lines = (await metrics.text())
    .split('\n')
    .filter((line) => line.startsWith('lorikeet_adapter_requests_total{'));
  assert.equal(lines.length, limits.metricsAdapters + 1);
  assert.ok(lines.includes(`lorikeet_adapter_requests_total{adapter="other"} ${1000 - limits.metricsAdapters}`));
});
