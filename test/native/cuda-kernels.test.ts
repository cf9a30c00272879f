// The CUDA kernels without a card: compiled as C++ over a stand-in for its threads, run beside float64, and given
// weights as card-form.ts packs them.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { prng } from '../../src/core/prng.ts';
import { cardForm, tileAttributes } from '../../src/graph/card-form.ts';
import { linearValues } from '../graph/linear-values.ts';
import { randomLinear } from '../graph/random-linear.ts';

const folder = join(import.meta.dirname, 'cuda');
const compiler = process.env.CXX || 'c++';
const hasCompiler = spawnSync(compiler, ['--version']).status === 0;
// ucontext, on which the stand-in rests, is Linux's; where CI runs there is a compiler.
const skip = (process.platform !== 'linux' || !hasCompiler) && !process.env.CI ? 'no C++ compiler here' : false;

/** The program's path; gone after the test. */
function compile(t: TestContext, source: string, real: string): string {
  const work = mkdtempSync(join(tmpdir(), 'lorikeet-cuda-'));
  t.after(() => rmSync(work, { recursive: true, force: true }));
  const program = join(work, 'program');
  const flags = ['-std=c++20', '-O1', '-Wall', '-Werror', '-Wno-unknown-pragmas', `-DREAL_${real}=1`];
  const built = spawnSync(compiler, [...flags, '-o', program, join(folder, source)], { encoding: 'utf8' });
  assert.equal(built.status, 0, built.stderr);
  return program;
}

function run(program: string, args: readonly string[] = []): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 2 ** 26 });
  assert.equal(status, 0, stderr);
  return stdout;
}

for (const source of readdirSync(folder).filter((file) => file.endsWith('.cpp'))) {
  for (const real of ['FLOAT16', 'BFLOAT16']) {
    test(`${source} in ${real.toLowerCase()}`, { skip }, (t) => {
      assert.match(run(compile(t, source, real)), /^[1-9]\d* cases/);
    });
  }
}

test('tiles of weights hold what the linear holds', { skip }, (t) => {
  const program = compile(t, 'quantized-linear.cpp', 'FLOAT16');
  const file = join(dirname(program), 'weights');
  const random = prng(3);
  for (const bits of [4, 8] as const) {
    for (const corrected of [false, true]) {
      for (const [n, k, halves] of [
        [70, 96, true],
        [1, 32, false],
        [64, 160, false],
      ] as const) {
        const form = { bits, n, k, corrected, halves, bias: false };
        const weights = randomLinear('x', form, random);
        const model = { shape: {} as never, linears: new Map([['x', form]]), weights };
        const { minimums } = tileAttributes(form);
        writeFileSync(file, cardForm(model).weights.get('x.packed')!.data);
        const found = run(program, [file, String(n), String(k), String(bits), String(minimums)])
          .trim()
          .split('\n');
        const expected = linearValues(model, 'x');
        assert.equal(found.length, expected.length);
        for (const [i, value] of found.entries()) {
          // Each of scale, minimum and weight is rounded to 11 bits; scales are up to 0.5.
          const most = (Math.abs(expected[i]!) + 0.5 + 0.5 * 2 ** (bits - 1)) * 2 ** -10;
          assert.ok(Math.abs(Number(value) - expected[i]!) <= most, `${bits} bits, ${i}: ${value}, not ${expected[i]}`);
        }
      }
    }
  }
});
