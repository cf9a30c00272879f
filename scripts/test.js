// npm test [-- part of a path ...]: runs every test that needs no weights; with --models, those on the real model.

import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { root } from './install.js';
import { launch } from './launch.js';

const args = process.argv.slice(2);
const models = args.includes('--models');
const wanted = args.filter((arg) => !arg.startsWith('-'));
const options = args.filter((arg) => arg.startsWith('-') && arg !== '--models');

const files = readdirSync(join(root, 'test'), { recursive: true })
  .map((file) => join('test', file))
  .filter((file) => file.endsWith('.test.ts') && file.endsWith('.models.test.ts') === models)
  .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
  .sort();

if (files.length === 0) {
  process.stderr.write(`No test file matches ${wanted.join(' ')}.\n`);
  process.exit(1);
}

// Tests on the real model measure times and share the machine's memory, so their files run one by one.
const concurrency = models ? 1 : Math.max(2, availableParallelism() - 1);
await launch(['--test', `--test-concurrency=${concurrency}`, '--test-timeout=600000', ...options, ...files], {
  dev: true,
  cwd: root,
});
