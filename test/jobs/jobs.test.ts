// Jobs from their rows to an adapter, with the fake trainer.

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { systemClock } from '../../src/core/clock.ts';
import { LorikeetError } from '../../src/core/errors.ts';
import type { JobEvent } from '../../src/jobs/training-jobs.ts';
import { auditTable } from '../../src/storage/audit-table.ts';
import { auditLog } from '../../src/tenants/audit.ts';
import { testJobs } from '../helpers/test-jobs.ts';
import { testBase, testRegistry, upload } from '../helpers/test-registry.ts';
import { until } from '../helpers/waits.ts';
import { tinyShape } from '../models/model-folder.ts';

const never = new AbortController().signal;

async function eventsOf(told: Promise<AsyncIterable<JobEvent>>): Promise<JobEvent[]> {
  const events: JobEvent[] = [];
  for await (const event of await told) events.push(event);
  return events;
}

const messagesOf = (events: readonly JobEvent[]) => events.filter(({ data }) => data === null).map((e) => e.message);

test('a job becomes a version that can be asked for, and says how', async (t) => {
  const { jobs, registry, create, reaches } = await testJobs(t);
  const { id, state } = await create({ suffix: 'mine' });
  assert.equal(state, 'validating_files');
  const events = await eventsOf(jobs.follow('default', id, null, never));
  const job = await reaches(id, 'succeeded');
  assert.deepEqual([job.adapter, job.progress.trainedTokens, job.error], ['mine@1', 400, null]);
  assert.deepEqual(messagesOf(events), [
    `Created fine-tuning job: ${id}`,
    'Files validated, moving job to queued state',
    'Training started: 4 rows, 4 steps, 64 parameters',
    'New fine-tuned model created: mine@1',
    'The job has successfully completed',
  ]);
  const steps = events.flatMap(({ data }) => (data === null ? [] : [data.step]));
  assert.deepEqual(steps, [1, 2, 3, 4]);
  const lease = await registry.lease('default', 'mine');
  assert.equal(lease.adapter.source, 'training');
  lease.release();
  const training = await registry.training(lease.adapter);
  assert.equal(training?.job, id);
  assert.deepEqual(
    training?.curve.map(({ step }) => step),
    [1, 2, 3, 4],
  );
});

const everything = { tenant: null, actor: null, action: null, since: null, until: null, before: null };

test('what a job publishes and moves is in the audit log, under the key that made the job', async (t) => {
  const registry = await testRegistry(t);
  const audit = auditLog(auditTable(registry.database), systemClock);
  const { create, reaches } = await testJobs(t, { registry, jobs: { audit } });
  const alias = { alias: 'prod', ifBetter: false, canaryWeight: null };
  const { id } = await create({ suffix: 'mine', alias, createdBy: '0123456789ab' });
  await reaches(id, 'succeeded');
  const rows = (await audit.read({ ...everything, limit: 10 })).toReversed();
  assert.deepEqual(
    rows.map(({ actor, action, target }) => [actor, action, target]),
    [
      ['0123456789ab', 'adapters.publish', 'mine/step-2@1'],
      ['0123456789ab', 'adapters.publish', 'mine@1'],
      ['0123456789ab', 'aliases.set', 'mine:prod'],
    ],
  );
  assert.deepEqual(rows[2]?.before, { targets: [] });
  assert.deepEqual(rows[2]?.after, { targets: [{ version: 1, weight: 1 }], job: id });
});

test('a log that takes no row stops no job, and is complained of', async (t) => {
  const audit = { write: () => Promise.reject(new Error('full')) };
  const { create, reaches, log } = await testJobs(t, { jobs: { audit } });
  const { id } = await create({ suffix: 'mine' });
  await reaches(id, 'succeeded');
  assert.ok(log.some(({ message }) => message === 'a change is missing in the audit log'));
});

test('events come in pages, newest first', async (t) => {
  const { jobs, create, reaches } = await testJobs(t);
  const { id } = await create();
  await reaches(id, 'succeeded');
  const pages: JobEvent[] = [];
  for (let after: string | null = null; ; ) {
    const page = await jobs.events('default', id, { after, limit: 2 });
    if (page.length === 0) break;
    pages.push(...page);
    after = page.at(-1)!.id;
  }
  const whole = await jobs.events('default', id, { after: null, limit: 100 });
  assert.deepEqual(pages, whole);
  assert.equal(whole[0]?.message, 'The job has successfully completed');
});

test('a checkpoint is an adapter of its own name; the latest few are kept', async (t) => {
  const { jobs, registry, create, reaches } = await testJobs(t);
  const { id } = await create({ suffix: 'c', choices: { maxSteps: 12, checkpointSteps: 2, seed: 1 } });
  await reaches(id, 'succeeded');
  const found = await jobs.checkpoints('default', id, { after: null, limit: 10 });
  assert.deepEqual(
    found.map(({ adapter, trainLoss }) => [adapter, trainLoss]),
    [
      ['c/step-10', 1.1],
      ['c/step-8', 1.125],
      ['c/step-6', 1 + 1 / 6],
    ],
  );
  for (const { adapter } of found) (await registry.lease('default', adapter)).release();
  assert.equal((await registry.find('default', 'c')).version, 1, 'no checkpoint is what the name alone means');
  await assert.rejects(registry.find('default', 'c/step-2'), { code: 'adapter_not_found' });
});

test('one job trains at a time, and its folder is gone when it is over', async (t) => {
  const { create, reaches, trainer, registry } = await testJobs(t, { stepMs: 1 });
  const made = [await create(), await create(), await create()];
  let most = 0;
  const watch = setInterval(() => (most = Math.max(most, trainer.alive)), 0);
  for (const { id } of made) await reaches(id, 'succeeded');
  clearInterval(watch);
  assert.equal(most, 1);
  await until(() => made.every(({ id }) => !existsSync(join(registry.folder, 'training', 'work', id))));
});

test('a paused job frees its process, and goes on where it was', async (t) => {
  const { jobs, trainer, create, reaches } = await testJobs(t, { stepMs: null });
  const { id } = await create();
  await until(() => trainer.alive === 1);
  await reaches(id, 'running');
  trainer.step();
  assert.equal((await jobs.pause('default', id)).state, 'paused');
  assert.equal((await jobs.pause('default', id)).state, 'paused', 'it is so already');
  await until(() => trainer.alive === 0);
  trainer.options = { stepMs: 0 };
  assert.equal((await jobs.resume('default', id)).state, 'validating_files');
  await reaches(id, 'succeeded');
  const events = await jobs.events('default', id, { after: null, limit: 100 });
  assert.ok(events.some(({ message }) => message.startsWith('Training goes on from step 1: ')));
  await assert.rejects(jobs.pause('default', id), { code: 'job_state_conflict' });
  await assert.rejects(jobs.resume('default', id), { code: 'job_state_conflict' });
});

test('a trainer that takes no notice is killed', async (t) => {
  const timers = {
    after: (ms: number, call: () => void) => {
      const timer = globalThis.setTimeout(call, ms >= 10_000 && ms <= 60_000 ? 20 : ms).unref();
      return () => clearTimeout(timer);
    },
  };
  const { jobs, trainer, create, reaches } = await testJobs(t, { stepMs: null, isDeaf: true, jobs: { timers } });
  const { id } = await create();
  await until(() => trainer.alive === 1);
  await reaches(id, 'running');
  await jobs.pause('default', id);
  await until(() => trainer.alive === 0);
  assert.equal((await jobs.find('default', id)).state, 'paused');
});

test('a job is cancelled in each state that is not its end', async (t) => {
  const { jobs, trainer, create, reaches, registry } = await testJobs(t, { stepMs: null });
  const first = await create();
  const second = await create();
  await until(() => trainer.alive === 1);
  await reaches(second.id, 'queued');
  assert.equal((await jobs.cancel('default', second.id)).state, 'cancelled');
  await jobs.pause('default', first.id);
  const third = await create();
  await until(() => trainer.jobs.length === 2 && trainer.alive === 1);
  await reaches(third.id, 'running');
  trainer.step();
  for (const { id } of [first, third]) {
    const job = await jobs.cancel('default', id);
    assert.deepEqual([job.state, job.error], ['cancelled', null]);
    assert.ok(job.finishedAt !== null);
    assert.equal((await jobs.cancel('default', id)).state, 'cancelled', 'it is so already');
  }
  await until(() => trainer.alive === 0);
  await until(() => !existsSync(join(registry.folder, 'training', 'work', third.id)));
  assert.equal(
    messagesOf(await jobs.events('default', third.id, { after: null, limit: 1 }))[0],
    'The job was cancelled',
  );
});

test('a trainer that dies is started again, and given up when it gets no further', async (t) => {
  const dying = await testJobs(t, { dieAfter: (lives) => (lives <= 3 ? 2 : null) });
  const { id } = await dying.create({ choices: { maxSteps: 8, checkpointSteps: 2, seed: 3 } });
  await dying.reaches(id, 'succeeded');
  assert.ok(dying.trainer.lives >= 4);
  assert.equal(dying.jobs.stats.trainerRestarts, dying.trainer.lives - 1);
  const steps = (await dying.jobs.events('default', id, { after: null, limit: 100 })).flatMap(({ data }) =>
    data === null ? [] : [data.step!],
  );
  assert.deepEqual(steps, [8, 7, 6, 5, 4, 3, 2, 1], 'each step once, as if nothing had happened');
  const taken = dying.trainer.jobs.map(({ folder }) => folder);
  assert.equal(new Set(taken).size, taken.length, 'each trainer has a folder of its own name');

  const hopeless = await testJobs(t, { dieAfter: () => 1 });
  const lost = await hopeless.create();
  const { error } = await hopeless.reaches(lost.id, 'failed');
  assert.equal(error?.code, 'training_failed');
  assert.match(error.message, /was ended by SIGSEGV, 3 times without getting further/);
  assert.equal(hopeless.trainer.lives, 3);
});

test('what a trainer says of its own failure is the end of the job', async (t) => {
  const failure = { code: 'training_failed', message: 'The loss is not a number at step 0.' } as const;
  const { create, reaches, trainer } = await testJobs(t, { failure });
  const { id } = await create();
  const job = await reaches(id, 'failed');
  assert.deepEqual(job.error, { ...failure, param: null });
  assert.equal(trainer.lives, 1);
});

test('the result waits for a registry that takes nothing just now, and is not lost', async (t) => {
  const { create, reaches, registry, trainer, jobs } = await testJobs(t, {
    jobs: {
      timers: {
        after: (ms, call) => {
          const timer = globalThis.setTimeout(call, ms === 5000 ? 1 : ms).unref();
          return () => clearTimeout(timer);
        },
      },
    },
    stepMs: null,
  });
  const { id } = await create();
  await until(() => trainer.alive === 1);
  const places = await Promise.all(Array.from({ length: 16 }, () => registry.stage('default')));
  trainer.options = { stepMs: 0 };
  for (let i = 0; i < 5; i++) trainer.step();
  const outcome = () => registry.database.selectFrom('jobs').select('outcome').executeTakeFirstOrThrow();
  while ((await outcome()).outcome === null) await setTimeout(5);
  await assert.rejects(jobs.cancel('default', id), { code: 'job_state_conflict', message: /on its way/ });
  for (const place of places) await place.discard();
  assert.equal((await reaches(id, 'succeeded')).adapter, `ft-${id.slice('ftjob-'.length)}@1`);
});

test('an adapter is gone on from, also when it is deleted meanwhile', async (t) => {
  const { create, reaches, registry, trainer } = await testJobs(t, { stepMs: null });
  const { adapter } = await upload(registry, 'mine', 5);
  await assert.rejects(create({ model: 'nothing' }), { code: 'model_not_found', param: 'model' });
  await assert.rejects(create({ model: 'mine', choices: { r: 4 } }), { code: 'invalid_parameter', param: 'r' });
  const job = await create({ model: 'mine' });
  assert.deepEqual([job.spec.initial, job.spec.hyperparameters.r], [adapter.digest, 2]);
  assert.deepEqual(job.spec.hyperparameters.targetModules, ['q_proj']);
  await registry.delete('default', 'mine', null);
  await until(() => trainer.jobs.length === 1);
  const { initial } = trainer.jobs[0]!;
  assert.equal(initial?.digest, adapter.digest);
  assert.ok(existsSync(initial.config) && existsSync(initial.weights));
  for (let i = 0; i < 5; i++) trainer.step();
  await reaches(job.id, 'succeeded');
});

test('files: kept while a job needs them, shared by content, gone with the last name', async (t) => {
  const { files, file, create, jobs, reaches, trainer } = await testJobs(t, { stepMs: null });
  const mine = await file();
  const theirs = await file({ tenant: 'a' });
  assert.equal(mine.digest, theirs.digest);
  await assert.rejects(files.find('default', theirs.id), { code: 'file_not_found' });
  const { id } = await create({ trainingFile: mine.id });
  await until(() => trainer.alive === 1);
  await assert.rejects(files.delete('default', mine.id), { code: 'file_in_use' });
  await jobs.cancel('default', id);
  await reaches(id, 'cancelled');
  await files.delete('default', mine.id);
  assert.ok(existsSync(files.pathOf(theirs)));
  await files.delete('a', theirs.id);
  assert.ok(!existsSync(files.pathOf(theirs)));
});

test("another tenant's job is none", async (t) => {
  const { create, jobs } = await testJobs(t, { isIdle: true });
  const { id } = await create({ tenant: 'a' });
  const page = { after: null, limit: 5 };
  for (const ask of [
    () => jobs.find('default', id),
    () => jobs.cancel('default', id),
    () => jobs.pause('default', id),
    () => jobs.resume('default', id),
    () => jobs.events('default', id, page),
    () => jobs.follow('default', id, null, never),
    () => jobs.checkpoints('default', id, page),
  ]) {
    await assert.rejects(ask, (error) => error instanceof LorikeetError && error.code === 'job_not_found');
  }
  assert.deepEqual(await jobs.list('default', page), []);
  assert.equal((await jobs.list('a', page)).length, 1);
});

test('no more jobs than a tenant may have', async (t) => {
  const { create, file, jobs } = await testJobs(t, { isIdle: true });
  const { id: trainingFile } = await file();
  const made = [];
  for (let i = 0; i < 16; i++) made.push(await create({ trainingFile }));
  await assert.rejects(create({ trainingFile }), { code: 'job_limit_exceeded' });
  await create({ tenant: 'a' });
  await jobs.cancel('default', made[3]!.id);
  await create({ trainingFile });
});

test('a job of another base model waits until its own runs again', async (t) => {
  const registry = await testRegistry(t);
  const first = await testJobs(t, { registry, isIdle: true });
  const { id } = await first.create();
  await first.reaches(id, 'queued');
  await first.jobs.close(0);
  const files = { ...testBase, kind: 'gguf', weights: [], sidecars: {}, source: 'test' } as const;
  const other = { files: { ...files, digest: `sha256:${'b'.repeat(64)}` }, shape: () => tinyShape };
  const second = await testJobs(t, { registry, jobs: { base: other } });
  const theirs = await second.create();
  await second.reaches(theirs.id, 'succeeded');
  assert.equal((await second.jobs.find('default', id)).state, 'queued');
  await second.jobs.close(0);
  const third = await testJobs(t, { registry });
  await third.reaches(id, 'succeeded');
});

test('linears that the base model has as one module are trained together or not at all', async (t) => {
  const files = { ...testBase, kind: 'gguf', weights: [], sidecars: {}, source: 'test' } as const;
  const base = { files, shape: () => ({ ...tinyShape, fusedRows: true as const }) };
  const { create, reaches } = await testJobs(t, { jobs: { base } });
  const refusal = {
    code: 'invalid_parameter',
    param: 'target_modules',
    message: /q_proj, k_proj, v_proj as one module/,
  };
  await assert.rejects(create({ choices: { targetModules: ['q_proj', 'o_proj'] } }), refusal);
  const { id } = await create({ choices: { targetModules: ['gate_proj', 'up_proj', 'o_proj'] } });
  await reaches(id, 'succeeded');
});

for (const state of ['queued', 'running', 'paused'] as const) {
  test(`a start takes up a job that was ${state}`, async (t) => {
    const registry = await testRegistry(t);
    const first = await testJobs(t, { registry, stepMs: null, isIdle: state === 'queued' });
    const { id } = await first.create();
    await first.reaches(id, state === 'queued' ? 'queued' : 'running');
    if (state !== 'queued') {
      await until(() => first.trainer.alive === 1);
      first.trainer.step();
    }
    if (state === 'paused') await first.jobs.pause('default', id);
    await first.jobs.close(1000);
    assert.equal(first.trainer.alive, 0);
    const second = await testJobs(t, { registry, isIdle: true });
    assert.equal((await second.jobs.find('default', id)).state, state);
    second.start();
    if (state === 'paused') await second.jobs.resume('default', id);
    await second.reaches(id, 'succeeded');
    assert.equal(second.trainer.lives, 1);
  });
}
