// The process that renders adapters' chat templates: what it makes of them, beside transformers, and what hostile ones
// cost.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { systemTimers } from '../../src/core/clock.ts';
import type { LorikeetError } from '../../src/core/errors.ts';
import { limits } from '../../src/core/limits.ts';
import { boundMemory } from '../../src/runtime/bound-memory.ts';
import { startTemplateChild, startTemplates } from '../../src/templates/start.ts';
import { TemplateProcess, type TemplateProcessOptions } from '../../src/templates/template-process.ts';
import { isAlive, processorTime } from '../helpers/other-process.ts';

type Renders = {
  readonly sources: readonly string[];
  readonly cases: readonly { source: number; variables: Record<string, unknown>; text: string | null }[];
};
const renders: Renders = JSON.parse(
  readFileSync(new URL('../fixtures/template-renders.json', import.meta.url), 'utf8'),
);

function processFor(t: TestContext, own: Partial<TemplateProcessOptions['limits']> = {}): TemplateProcess {
  const process = startTemplates({ timers: systemTimers, boundMemory, limits: { ...limits, ...own } });
  t.after(() => process.close());
  return process;
}

const by = (source: string, tenant = 'a') => ({ tenant, source });
const failsWith =
  (code: string, message = /./) =>
  (error: LorikeetError) =>
    error.code === code && message.test(error.message);
const doubled =
  "{% set ns = namespace(x='abcdefgh') %}{% for i in range(TIMES) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}";

test('templates of several families make the text that transformers makes of them', async (t) => {
  const process = processFor(t);
  assert.ok(renders.cases.length > 20);
  for (const { source, variables, text } of renders.cases) {
    const rendered = process.render(by(renders.sources[source]!), variables);
    if (text === null) await assert.rejects(rendered, failsWith('chat_template_failed', /alternate|supported/));
    else assert.equal(await rendered, text);
  }
});

test('a template that cannot be read is refused, with what is wrong', async (t) => {
  const process = processFor(t);
  const unreadable = [
    '{% if x %}no end',
    '{{ x',
    `{{ ${'('.repeat(30_000)}1${')'.repeat(30_000)} }}`,
    '{% if true %}'.repeat(5000) + '{% endif %}'.repeat(5000),
  ];
  for (const source of unreadable) {
    await assert.rejects(process.check(by(source)), failsWith('adapter_invalid', /cannot be read: \S/));
  }
  await process.check(by('{{ raise_exception("never") }}'));
});

const hostile: Readonly<Record<string, string>> = {
  'a loop without an end': `${'{% for i in range(100000) %}'.repeat(3)}${'{% endfor %}'.repeat(3)}`,
  'a range of a thousand million': '{% for i in range(1000000000) %}x{% endfor %}',
  'a list that doubles':
    '{% set ns = namespace(x=[1,2,3,4]) %}{% for i in range(40) %}{% set ns.x = ns.x + ns.x %}{% endfor %}',
  'a text that doubles and is looked at': `${doubled.replace('TIMES', '25')}{{ ns.x | upper }}`,
  'a text that doubles and is cut': `${doubled.replace('TIMES', '24')}{{ ns.x.split('a') | length }}`,
  'a text that doubles and becomes JSON': `${doubled.replace('TIMES', '25')}{{ ns.x | tojson }}`,
};

for (const [what, source] of Object.entries(hostile)) {
  test(`${what} ends the process and not the server; the template rests, and others go on`, async (t) => {
    const process = processFor(t);
    const bad = process.render(by(source, 'hostile'), {});
    const good = Array.from({ length: 3 }, (_, i) => process.render(by('{{ i }}', 'honest'), { i }));
    await assert.rejects(bad, (error: LorikeetError) => /^chat_template_(too_slow|failed)$/.test(error.code));
    assert.deepEqual(await Promise.all(good), ['0', '1', '2']);
  });
}

const isLinux = process.platform === 'linux';

test('what it takes of memory is bounded, and a long conversation has room', { skip: !isLinux }, async (t) => {
  const pids: number[] = [];
  const start: TemplateProcessOptions['start'] = (handlers) => {
    const child = startTemplateChild(handlers);
    pids.push(child.pid!);
    return child;
  };
  const process = new TemplateProcess({ start, timers: systemTimers, boundMemory, limits });
  t.after(() => process.close());
  let peak = 0;
  const look = setInterval(() => {
    peak = Math.max(peak, ...pids.map(peakMiB));
  }, 2);
  t.after(() => clearInterval(look));
  const messages = Array.from({ length: 200 }, () => ({ role: 'user', content: 'a word, é '.repeat(2000) }));
  const long = '{% for m in messages %}{{ m.role }}: {{ m.content | trim }}{% endfor %}';
  assert.ok((await process.render(by(long), { messages })).length > 3_900_000);
  const limit = /^Max data size\s+(\S+)/m.exec(readFileSync(`/proc/${pids[0]}/limits`, 'utf8'))!;
  assert.match(limit[1]!, /^\d+$/);
  for (const [what, source] of Object.entries(hostile)) {
    if (!what.startsWith('a text')) continue;
    await assert.rejects(process.render(by(source), {}), (error: LorikeetError) => /^chat_template_/.test(error.code));
  }
  assert.equal(await process.render(by('{{ x }}'), { x: 'fine' }), 'fine');
  assert.ok(peak > 50 && peak < 400, `${peak} MiB`);
});

/** The most that it has held; 0 when it has gone. */
function peakMiB(pid: number): number {
  try {
    return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

test('a text that is longer than any conversation is refused without being made', async (t) => {
  const source = `${doubled.replace('TIMES', '25')}{{ ns.x }}`;
  await assert.rejects(processFor(t).render(by(source), {}), failsWith('chat_template_failed', /8388608 characters/));
});

test('a template that had to be ended is refused at once for a while, and no other', async (t) => {
  const process = processFor(t, { chatTemplateMs: 300, chatTemplateRestMs: 3_600_000 });
  const source = hostile['a loop without an end']!;
  await assert.rejects(process.render(by(source), {}), failsWith('chat_template_too_slow', /longer than 300 ms/));
  for (let i = 0; i < 3; i++) {
    await assert.rejects(process.render(by(source), {}), failsWith('chat_template_too_slow', /lately/));
  }
  assert.equal(await process.render(by('{{ x }}'), { x: 'fine' }), 'fine');
});

test('a conversation that waits for a template which is ended meanwhile is refused without being tried', async (t) => {
  const process = processFor(t);
  const source = hostile['a loop without an end']!;
  const asked = [process.render(by(source), {}), process.render(by(source), {})];
  await Promise.allSettled(asked);
  await assert.rejects(asked[0]!, failsWith('chat_template_too_slow', /longer/));
  await assert.rejects(asked[1]!, failsWith('chat_template_too_slow', /lately/));
});

test('what one tenant makes of a template does not rest it for another', async (t) => {
  const process = processFor(t, { chatTemplateMs: 300, chatTemplateRestMs: 3_600_000 });
  const source = `{% if x %}${hostile['a loop without an end']}{% endif %}fine`;
  await assert.rejects(process.render(by(source, 'a'), { x: true }), failsWith('chat_template_too_slow', /longer/));
  await assert.rejects(process.render(by(source, 'a'), {}), failsWith('chat_template_too_slow', /lately/));
  assert.equal(await process.render(by(source, 'b'), {}), 'fine');
});

test('after its rest it is tried again', async (t) => {
  const process = processFor(t, { chatTemplateMs: 300, chatTemplateRestMs: 1 });
  const source = hostile['a loop without an end']!;
  await assert.rejects(process.render(by(source), {}), failsWith('chat_template_too_slow'));
  await sleep(20);
  await assert.rejects(process.render(by(source), {}), failsWith('chat_template_too_slow', /longer than/));
});

test('tenants take turns: one that fills the queue delays another by one of its own', async (t) => {
  const process = processFor(t);
  const order: string[] = [];
  const ask = (tenant: string, i: number) =>
    process.render(by('{{ i }}', tenant), { i }).then((text) => void order.push(`${tenant}${text}`));
  await Promise.all([...Array.from({ length: 6 }, (_, i) => ask('a', i)), ask('b', 0), ask('b', 1)]);
  assert.deepEqual(order, ['a0', 'a1', 'b0', 'a2', 'b1', 'a3', 'a4', 'a5']);
});

test('more conversations than may wait are refused, those of the tenant that has most', async (t) => {
  const process = processFor(t, { chatTemplatesWaiting: 4 });
  const asked = Array.from({ length: 5 }, (_, i) => process.render(by('{{ i }}', 'a'), { i }));
  const other = process.render(by('b', 'b'), {});
  const ended = await Promise.allSettled(asked);
  const refused = ended.filter((one) => one.status === 'rejected');
  assert.ok(refused.length > 0 && refused.length < 5);
  for (const { reason } of refused) assert.equal(reason.code, 'server_overloaded');
  assert.equal(await other, 'b');
});

test('a server that dies leaves no process behind, also in the midst of a template without an end', async () => {
  const script = fileURLToPath(new URL('../fixtures/templates-parent.ts', import.meta.url));
  const parent = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(parent.stdout, 'data');
  const pid = Number(String(line));
  const used = processorTime(pid);
  while (isAlive(pid) && processorTime(pid) < used + 20) await sleep(20);
  assert.ok(isAlive(pid));
  parent.kill('SIGKILL');
  while (isAlive(pid)) await sleep(20);
});

test('what waits when the server goes down is told so', async (t) => {
  const process = processFor(t);
  const asked = [process.render(by('{{ i }}'), {}), process.render(by('{{ i }}'), {})];
  process.close();
  for (const one of await Promise.allSettled(asked)) {
    assert.ok(one.status === 'rejected' && one.reason.code === 'server_draining');
  }
});
