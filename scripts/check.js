// npm run check: all static checks. Runs all of them, and then lists those that failed.

import { join } from 'node:path';
import { root } from './install.js';
import { run } from './launch.js';

const tool = (path) => join(root, 'node_modules', path);
const parts = [
  ['types', [tool('typescript/bin/tsc'), '--noEmit']],
  ["types of the browser's part", [tool('typescript/bin/tsc'), '--noEmit', '-p', join(root, 'src/console')]],
  ['lint and format', [tool('@biomejs/biome/bin/biome'), 'check', '--error-on-warnings']],
  ['unused files, exports and dependencies', [tool('knip/bin/knip.js'), '--no-progress']],
  ['tidy', ['--test', '--test-reporter=dot', join(root, 'test/tidy.test.ts')]],
];

const failed = [];
for (const [name, args] of parts) {
  const began = Date.now();
  const code = await run(args).catch((error) => {
    process.stderr.write(`${error.message}\n`);
    return 1;
  });
  process.stdout.write(`${code === 0 ? 'ok' : 'FAILED'}  ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)\n`);
  if (code !== 0) failed.push(name);
}
if (failed.length > 0) process.stderr.write(`check failed: ${failed.join('; ')}\n`);
process.exitCode = failed.length === 0 ? 0 : 1;
