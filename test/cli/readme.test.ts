// The commands that the README shows exist.

import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import test from 'node:test';
import { unanswered, unasked } from '../readme/blocks.ts';

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');
const { scripts, bin } = JSON.parse(read('package.json')) as {
  scripts: Record<string, string>;
  bin: Record<string, string>;
};

test('every npm command of the documents is a script of package.json', () => {
  const commands = [...read('README.md').matchAll(/\bnpm (start|test|run [\w:-]+)/g)].map(([, command]) => command!);
  assert.ok(commands.includes('start') && commands.includes('test'));
  const unknown = commands.map((command) => command.replace('run ', '')).filter((name) => !(name in scripts));
  assert.deepEqual(unknown, []);
});

test('scripts and bin lead to files', () => {
  const named = [...Object.values(scripts), ...Object.values(bin)].flatMap(
    (text) => text.match(/scripts\/[\w-]+\.js/g) ?? [],
  );
  assert.ok(named.length > 0);
  assert.deepEqual(
    named.filter((file) => !existsSync(new URL(`../../${file}`, import.meta.url))),
    [],
  );
});

test('the start prints the same request as the README', () => {
  const body = `'{"prompt":"The capital of France is","max_tokens":8,"temperature":0}'`;
  assert.ok(read('README.md').includes(body));
  assert.ok(read('src/cli/start-report.ts').includes(body));
});

test('each shell block of a first visit has an answer that CI looks for', () => {
  assert.deepEqual(unanswered(), []);
  assert.deepEqual(unasked(), []);
});
