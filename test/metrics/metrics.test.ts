import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMetrics, type Metrics } from '../../src/metrics/metrics.ts';
import { aliasText, vllmAliases } from '../../src/metrics/vllm-aliases.ts';
import { idleReading } from './idle-reading.ts';

const line = /^[a-z_]+[a-z0-9_:]*(\{([a-z_]+="(\\.|[^"\\])*",?)+\})? (-?[\d.e+-]+|\+Inf|NaN)$/i;

const reading = {
  ...{ resident: 3, residentBytes: 4096, pagesUsed: 2, pagesTotal: 64, evictions: 5 },
  ...{ adaptersMax: 16, nowSeconds: 1_700_000_000.5 },
};

const device = (name: string) => ({
  ...{ device: name, ready: true, restarts: 0, running: 1, waiting: 2, kvUsage: 0.5 },
  adapters: { resident: 3, pagesUsed: 4, pagesTotal: 5 },
});

const plannedParts = {
  ...{
    base: 100,
    engine: 20,
    server: 30,
    kv: 4096,
    texts: 0,
    prefixes: 5,
    pages: 6,
    adapters: 7,
    merges: 8,
    trainer: 9,
  },
};

function readNothing(metrics: Metrics): void {
  metrics.readEngine(() => idleReading);
  metrics.readAdapters(() => reading);
}

test('the text is well formed, every series under its help and type, no name twice', async () => {
  const memory = { limitBytes: 2 ** 31, parts: plannedParts };
  const metrics = createMetrics({ modelName: 'a "quoted"\\name', memory });
  metrics.readEngine(() => ({
    running: 1,
    waiting: 2,
    kvUsage: 0.5,
    kv: { blockTokens: 32, blocks: 256 },
    restarts: 3,
    ready: true,
    devices: [device('cuda:0'), device('cuda:1')],
  }));
  metrics.readAdapters(() => reading);
  metrics.adapterLoaded({ tier: 'disk', ms: 20 });
  metrics.adaptersAsked({ tenant: 'a', names: ['org/a'] }, 0);
  metrics.httpAnswered({ method: 'GET', route: '/x', status: 200, ms: 5 });
  metrics.sequenceFinished({
    reason: 'stop',
    promptTokens: 3,
    completionTokens: 4,
    cachedTokens: 1,
    timings: { queueMs: 1, prefillMs: 2, decodeMs: 3 },
    e2eMs: 6,
    maxTokens: 16,
  });
  const text = await metrics.text(null);
  const types = new Map<string, string>();
  for (const written of text.split('\n').filter((entry) => entry !== '')) {
    if (written.startsWith('# HELP')) continue;
    const [, name, type] = /^# TYPE (\S+) (\S+)$/.exec(written) ?? [];
    if (name !== undefined && type !== undefined) {
      assert.ok(!types.has(name), `${name} twice`);
      types.set(name, type);
      continue;
    }
    assert.match(written, line);
    const series = written.split(/[ {]/)[0]!;
    const histogram = series.replace(/_(bucket|sum|count)$/, '');
    assert.ok(types.has(series) || types.get(histogram) === 'histogram' || types.get(histogram) === 'summary', series);
  }
  for (const [, alias] of vllmAliases) assert.ok(types.has(alias), alias);
  assert.match(text, /^lorikeet_engine_restarts_total 3$/m);
  assert.match(text, /^lorikeet_adapter_load_seconds_sum\{tier="disk"\} 0.02$/m);
  assert.match(text, /^lorikeet_adapter_evictions_total 5$/m);
  assert.match(text, /^lorikeet_memory_limit_bytes 2147483648$/m);
  assert.match(text, /^lorikeet_memory_planned_bytes\{part="kv"\} 4096$/m);
  assert.match(text, /^vllm:cache_config_info\{.*block_size="32",num_gpu_blocks="256"\} 1$/m);
  assert.match(text, /^process_cpu_seconds_total /m);
  assert.match(text, /^vllm:num_requests_waiting\{model_name="a \\"quoted\\"\\\\name"\} 2$/m);
});

test('an alias keeps values and labels under the other name', () => {
  const text = '# HELP a_b help of a_b\n# TYPE a_b counter\na_b 1\na_b{x="y"} 2\na_b_bucket{le="+Inf"} 3';
  assert.deepEqual(aliasText(text, 'a_b', 'v:c', 'm').split('\n'), [
    '# HELP v:c help of a_b',
    '# TYPE v:c counter',
    'v:c{model_name="m"} 1',
    'v:c{model_name="m",x="y"} 2',
    'v:c_bucket{model_name="m",le="+Inf"} 3',
  ]);
});

test('times are recorded in seconds', async () => {
  const metrics = createMetrics({ modelName: 'm', processMetrics: false });
  readNothing(metrics);
  metrics.firstToken(1500);
  assert.match(await metrics.text(null), /^lorikeet_time_to_first_token_seconds_sum 1\.5$/m);
});

test('no gauge of the process is named as a counter is, and each request has its mean gap between tokens', async () => {
  const metrics = createMetrics({ modelName: 'm' });
  readNothing(metrics);
  metrics.sequenceFinished({
    ...{ reason: 'stop', promptTokens: 3, completionTokens: 5, cachedTokens: 0, e2eMs: 50, maxTokens: 8 },
    timings: { queueMs: 0, prefillMs: 10, decodeMs: 40 },
  });
  const text = await metrics.text(null);
  const wrong = [...text.matchAll(/^# TYPE ((?!vllm:)\S+_total) (?!counter)/gm)].map(([, name]) => name);
  assert.deepEqual(wrong, []);
  assert.match(text, /^nodejs_active_handles\{/m);
  assert.match(text, /^vllm:request_time_per_output_token_seconds_sum\{model_name="m"\} 0\.01$/m);
  assert.match(text, /^vllm:request_max_num_generation_tokens_sum\{model_name="m"\} 5$/m);
});
