// Types what the README tells a first visitor to type: each of its shell blocks, word by word, in a folder where
// `npm start` has been run, against the server that runs there; then looks at what came out.
//
//     node scripts/run.js test/readme/first-visit.ts http://127.0.0.1:8080 [--keys] [--only text]
//
// --keys: only the block that makes keys, which closes the server to callers without one; else all other blocks.
// --only: of them those in which the text stands.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { type Block, blocksOf } from './blocks.ts';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { keys: { type: 'boolean', default: false }, only: { type: 'string', default: '' } },
});
const [url] = positionals;
if (!url) throw new Error('The address of a running server is missing.');

/** As the README has it, and what is typed in its place: the address, and minutes of training. */
const replaced: readonly (readonly [string, string])[] = [
  ['http://127.0.0.1:8080', url],
  ['--epochs 1', '--max-steps 3 --batch-size 2'],
];

/** Ends a block at its first command that fails; a refusal over HTTP is a failure. */
const prelude = `
set -euo pipefail
curl() { command curl --silent --show-error --fail-with-body --max-time 120 "$@" && echo; }
`;

function run({ text }: Block): string {
  const typed = replaced.reduce((all, [from, to]) => all.replaceAll(from, to), text);
  console.log(`\n$ ${typed.trimEnd().replaceAll('\n', '\n  ')}\n`);
  const start = performance.now();
  const { status, stdout, stderr } = spawnSync('bash', ['-c', prelude + typed], {
    env: { ...process.env, LORIKEET_URL: url },
    encoding: 'utf8',
    timeout: 600_000,
    maxBuffer: 2 ** 28,
  });
  console.log(stdout.length > 6000 ? `${stdout.slice(0, 3000)}\n[...]\n${stdout.slice(-3000)}` : stdout);
  console.log(stderr);
  console.log(`[${status}, ${((performance.now() - start) / 1000).toFixed(1)} s]`);
  assert.equal(status, 0, `a command of the README's ${text.slice(0, 60)}... failed`);
  return stdout;
}

const isWanted = ({ text }: Block) => text.includes('keys create') === flags.keys && text.includes(flags.only);
for (const block of blocksOf().filter(isWanted)) {
  const out = run(block);
  for (const [typed, answer] of block.shows) assert.match(out, answer, `what \`${typed}\` should say`);
}
console.log(`\nThe README's first visit is as it says${flags.keys ? ', with keys' : ''}.`);
