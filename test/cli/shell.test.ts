// Help for people at a shell: completion, help by verb, suggestions for typing errors, a load test.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import test, { after } from 'node:test';
import { jsonReport } from '../../src/cli/start-report.ts';
import { LorikeetError } from '../../src/core/errors.ts';
import { listen, testApp } from '../helpers/app.ts';
import { cliIn } from '../helpers/run-cli.ts';

const folder = mkdtempSync(join(tmpdir(), 'lorikeet-shell-'));
after(() => rmSync(folder, { recursive: true }));
const run = cliIn(folder);

const has = (program: string) => {
  try {
    execFileSync(program, ['-c', 'true']);
    return true;
  } catch {
    return false;
  }
};

test('bash completes commands, verbs and flags', { skip: !has('bash') && 'there is no bash' }, async () => {
  const script = join(folder, 'completion.bash');
  writeFileSync(script, (await run(['completion', 'bash'])).stdout);
  const complete = (...words: string[]) => {
    const line = `source ${script}; COMP_WORDS=(lorikeet "$@"); COMP_CWORD=$#; _lorikeet; echo "\${COMPREPLY[@]}"`;
    return execFileSync('bash', ['-c', line, 'bash', ...words], { encoding: 'utf8' }).trim();
  };
  assert.equal(complete('ad'), 'adapters');
  assert.equal(complete('adapters', 'un'), 'unmerge');
  assert.deepEqual(complete('adapters', 'p').split(' '), ['push', 'pull']);
  assert.match(complete('serve', '--max-lor'), /^--max-loras --max-lora-rank$/);
  assert.equal(complete('train', '--validat'), '--validation');
  assert.equal(complete('serve', 'model'), '');
});

for (const shell of ['zsh', 'fish'] as const) {
  test(`${shell} takes its script`, { skip: !has(shell) && `there is no ${shell}` }, async () => {
    const script = join(folder, `completion.${shell}`);
    writeFileSync(script, (await run(['completion', shell])).stdout);
    execFileSync(shell, ['-n', script]);
  });
}

test('every shell is told every command, in quotes that hold', async () => {
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { stdout, code } = await run(['completion', shell]);
    assert.equal(code, 0);
    for (const name of ['serve', 'adapters', 'bench', 'merges', 'restore']) assert.match(stdout, new RegExp(name));
    const ends = stdout.split('\n').filter((line) => (line.replaceAll("'\\''", '').match(/'/g) ?? []).length % 2 === 1);
    assert.deepEqual(ends, [], shell);
  }
  assert.match((await run(['completion', 'bsh'])).stderr, /Did you mean `bash`\?/);
  assert.match((await run(['completion'])).stderr, /completion bash \| zsh \| fish/);
});

test('help of a verb is its line and its options', async () => {
  const { stdout } = await run(['help', 'adapters', 'export']);
  assert.match(stdout, /^lorikeet adapters export <ref>\n/);
  assert.match(stdout, /--dtype/);
  assert.doesNotMatch(stdout, /--bits|adapters push/);
  assert.equal((await run(['adapters', 'export', '--help'])).stdout, stdout);
  const { code, stderr } = await run(['help', 'adapters', 'exprt']);
  assert.deepEqual([code, stderr], [2, 'lorikeet: There is no `lorikeet adapters exprt`. Did you mean `export`?\n']);
});

test('a misspelt verb, flag or adapter is told what may be meant', async (t) => {
  const testing = await testApp(t, { says: 'ok' });
  await testing.registry.add('pirate');
  const env = { LORIKEET_URL: `http://127.0.0.1:${await listen(testing.app)}` };
  assert.match((await run(['jobs', 'folow', 'x'], { env })).stderr, /Did you mean `follow`\?/);
  assert.match((await run(['keys', 'crate'], { env })).stderr, /Did you mean `create`\?/);
  assert.match((await run(['bench', '--stream', '2'], { env })).stderr, /Did you mean --streams\?/);
  assert.match((await run(['adapters', 'show', 'pirat'], { env })).stderr, /Did you mean 'pirate'\?/);
  assert.match((await run(['adapters', 'push'], { env })).stderr, /Write `lorikeet adapters push </);
});

test('bench asks as often as it was told, and says what came', async (t) => {
  const testing = await testApp(t, { says: 'hello there' });
  const env = { LORIKEET_URL: `http://127.0.0.1:${await listen(testing.app)}` };
  const load = ['bench', '--requests', '6', '--streams', '3', '--max-tokens', '8', '--prompt-words', '5'];
  const { code, stdout, stderr } = await run([...load, '--json'], { env });
  assert.deepEqual([code, stderr], [0, '']);
  const report = JSON.parse(stdout);
  assert.deepEqual([report.requests, report.generated_tokens, report.errors], [6, 48, {}]);
  assert.ok(report.first_token_ms.p50 > 0 && report.first_token_ms.p99 >= report.first_token_ms.p50);
  const prompts = testing.engine.submitted.map(({ promptTokens }) => promptTokens.join(' '));
  assert.equal(new Set(prompts).size, 6, 'no prompt is another');
  const text = (await run([...load, '--adapters', 'base,nobody'], { env })).stdout;
  assert.match(text, /answered +3 of 6 requests, 3 at a time/);
  assert.match(text, /errors +3 model_not_found/);
  testing.engine.refusal = new LorikeetError('server_overloaded');
  const refused = await run([...load, '--json'], { env });
  assert.deepEqual([refused.code, JSON.parse(refused.stdout).errors], [1, { server_overloaded: 6 }]);
  assert.equal((await run(['bench', '--requests', '0'], { env })).code, 2);
  assert.equal((await run(['bench'], { env: { LORIKEET_URL: 'http://127.0.0.1:9' } })).code, 3);
});

test('a start in JSON is a line an event, the last with the address', () => {
  const lines: string[] = [];
  const report = jsonReport(new Writable({ write: (chunk, _, done) => done(void lines.push(String(chunk))) }));
  report.done('data', '/data', 1.6);
  report.progress({} as Parameters<typeof report.progress>[0]);
  report.ready('http://127.0.0.1:1', true, 2);
  assert.deepEqual(
    lines.map((line) => JSON.parse(line)),
    [
      { event: 'phase', phase: 'data', detail: '/data', ms: 2 },
      { event: 'ready', url: 'http://127.0.0.1:1', open: true, ms: 2 },
    ],
  );
});
