// The CUDA kernels where there is no card: compiled as C++ over a stand-in for its threads, and run beside float64.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';

const folder = join(import.meta.dirname, 'cuda');
const compiler = process.env.CXX || 'c++';
const hasCompiler = spawnSync(compiler, ['--version']).status === 0;
// ucontext, on which the stand-in rests, is Linux's; where CI runs there is a compiler.
const skip = (process.platform !== 'linux' || !hasCompiler) && !process.env.CI ? 'no C++ compiler here' : false;

for (const source of readdirSync(folder).filter((file) => file.endsWith('.cpp'))) {
  for (const real of ['FLOAT16', 'BFLOAT16']) {
    test(`${source} in ${real.toLowerCase()}`, { skip }, (t) => {
      const work = mkdtempSync(join(tmpdir(), 'lorikeet-cuda-'));
      t.after(() => rmSync(work, { recursive: true, force: true }));
      const program = join(work, 'program');
      const flags = ['-std=c++20', '-O1', '-Wall', '-Werror', '-Wno-unknown-pragmas', `-DREAL_${real}=1`];
      const built = spawnSync(compiler, [...flags, '-o', program, join(folder, source)], { encoding: 'utf8' });
      assert.equal(built.status, 0, built.stderr);
      const { status, stdout, stderr } = spawnSync(program, { encoding: 'utf8' });
      assert.equal(status, 0, stderr);
      assert.match(stdout, /^[1-9]\d* cases/);
    });
  }
}
