import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import test from 'node:test';
import { coresOf, physicalCores } from '../../src/runtime/cores.ts';

test('there is a physical core, and no more of them than logical ones', () => {
  const cores = physicalCores();
  assert.ok(Number.isInteger(cores) && cores >= 1 && cores <= availableParallelism(), `${cores}`);
});

test('cores are those of the processors that the process may run on, within its quota', () => {
  /** Eight processors, two for each core: 0 and 4, 1 and 5 ... */
  const siblings = (cpu: number) => `${cpu % 4},${(cpu % 4) + 4}`;
  const status = (list: string) => `Name:\tnode\nCpus_allowed:\tff\nCpus_allowed_list:\t${list}\nMems_allowed:\t1\n`;
  assert.equal(coresOf(status('0-7'), siblings, 8), 4);
  assert.equal(coresOf(status('0-7'), siblings, 2), 2, 'a quota of two processors is worth two threads');
  assert.equal(coresOf(status('2,6'), siblings, 2), 1, 'two threads of one core');
  assert.equal(coresOf(status('4-5,7'), siblings, 3), 3);
  assert.equal(coresOf('Name:\tnode\n', siblings, 3), 3, 'nothing is said');
});
