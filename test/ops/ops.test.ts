// What the dashboard and the alert rules ask for exists: every metric, and every label that they name.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type ErrorCode, errorTable } from '../../src/core/errors.ts';
import { createMetrics } from '../../src/metrics/metrics.ts';
import { testApp } from '../helpers/app.ts';

const read = (path: string) => readFileSync(new URL(`../../ops/${path}`, import.meta.url), 'utf8');

type Dashboard = {
  readonly panels: readonly { readonly title: string; readonly targets: readonly { expr: string }[] }[];
};
const dashboard = JSON.parse(read('grafana/lorikeet.json')) as Dashboard;
const alerts = read('prometheus/alerts.yml');
const expressions = [
  ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
  ...[...alerts.matchAll(/^ +expr: (.+)$/gm)].map(([, expr]) => expr!),
];

const metricsOf = (expr: string) => expr.match(/\b(?:lorikeet_|vllm:|process_)\w+/g) ?? [];

test('every metric that is queried is there', async (t) => {
  const { app, registry, post } = await testApp(t, { deps: { metrics: createMetrics({ modelName: 'tiny' }) } });
  await registry.add('a');
  await post('/v1/generate', { prompt: 'x', adapter_id: 'a' });
  await post('/v1/generate', { prompt: 1 });
  const text = (await app.inject('/metrics')).body;
  const types = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name!, type!]));
  assert.ok(expressions.length >= 30, `${expressions.length} expressions`);
  for (const expr of expressions) {
    const names = metricsOf(expr);
    assert.ok(names.length > 0, `${expr} asks for nothing`);
    for (const name of names) {
      const histogram = name.replace(/_(bucket|sum|count)$/, '');
      assert.ok(types.has(name) || types.get(histogram) === 'histogram', `${name} of ${expr}`);
      // A counter is asked for its growth, a gauge for its value.
      if (types.get(name) === 'counter') assert.match(expr, /\b(rate|increase)\(/, expr);
    }
  }
});

test('every error code that is queried is one', () => {
  const codes = expressions.flatMap((expr) =>
    [...expr.matchAll(/code=~?"([^"]+)"/g)].flatMap(([, list]) => list!.split('|')),
  );
  assert.ok(codes.length >= 5);
  for (const code of codes) assert.ok((code as ErrorCode) in errorTable, code);
});
