// Names and aliases that somebody else changes while a job publishes its result.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StagedAdapter } from '../../src/registry/adapter-registry.ts';
import { testJobs } from '../helpers/test-jobs.ts';
import { type TestRegistry, testRegistry, upload } from '../helpers/test-registry.ts';
import { waitFor } from '../helpers/waits.ts';

/** A registry in which somebody else uploads to `name` after a job has begun to publish under it. */
function takenDuringPublication(real: TestRegistry, name: string): TestRegistry {
  let isTaken = false;
  const publish =
    (staged: StagedAdapter): StagedAdapter['publish'] =>
    async (asked, provenance) => {
      if (asked === name && !isTaken) {
        isTaken = true;
        await upload(real, name, 99);
      }
      return await staged.publish(asked, provenance);
    };
  return {
    ...real,
    async stage(tenant) {
      const staged = await real.stage(tenant);
      return { ...staged, publish: publish(staged) };
    },
  };
}

const trains = { suffix: 'mine', createdBy: '0123456789ab' };

test('a job whose maker may not publish adds no version to a name taken during the publication', async (t) => {
  const real = await testRegistry(t);
  const { create, reaches } = await testJobs(t, { registry: takenDuringPublication(real, 'mine') });
  const { id } = await create({ ...trains, mayPublish: false });
  const own = id.replace('ftjob-', 'ft-');
  assert.equal((await reaches(id, 'succeeded')).adapter, `${own}@1`);
  assert.deepEqual(
    (await real.versions('default', 'mine')).map(({ source }) => source),
    ['upload'],
  );
  (await real.lease('default', own)).release();
});

test('a job whose maker may publish adds a version to a name taken during the publication', async (t) => {
  const real = await testRegistry(t);
  const { create, reaches } = await testJobs(t, { registry: takenDuringPublication(real, 'mine') });
  const { id } = await create({ ...trains, mayPublish: true });
  assert.equal((await reaches(id, 'succeeded')).adapter, 'mine@2');
});

test('a checkpoint whose name somebody else takes is published under a name of the job’s own', async (t) => {
  const real = await testRegistry(t);
  const { jobs, create, reaches } = await testJobs(t, { registry: takenDuringPublication(real, 'mine/step-2') });
  const choices = { maxSteps: 10, checkpointSteps: 2, seed: 1 };
  const { id } = await create({ ...trains, mayPublish: false, choices });
  assert.equal((await reaches(id, 'succeeded')).adapter, 'mine@1');
  const checkpoints = await jobs.checkpoints('default', id, { after: null, limit: 10 });
  assert.deepEqual(
    checkpoints.map(({ adapter }) => adapter),
    ['mine/step-8', 'mine/step-6', 'mine/step-4'],
  );
  assert.deepEqual(
    (await real.versions('default', 'mine/step-2')).map(({ source }) => source),
    ['upload'],
    'nor is it deleted with the oldest checkpoint',
  );
});

test('a version that somebody else adds to a checkpoint’s name outlives the checkpoint', async (t) => {
  const real = await testRegistry(t);
  const registry: TestRegistry = {
    ...real,
    async stage(tenant) {
      const staged = await real.stage(tenant);
      return {
        ...staged,
        async publish(name, provenance) {
          const published = await staged.publish(name, provenance);
          if (name === 'mine/step-2') await upload(real, name, 99);
          return published;
        },
      };
    },
  };
  const { create, reaches } = await testJobs(t, { registry });
  const { id } = await create({ ...trains, choices: { maxSteps: 10, checkpointSteps: 2, seed: 1 } });
  await reaches(id, 'succeeded');
  const left = async () => (await real.versions('default', 'mine/step-2')).map(({ source }) => source);
  await waitFor('the deletion of the checkpoint', async () => (await left()).length === 1);
  assert.deepEqual(await left(), ['upload']);
});

test('a job moves an alias on from the targets that somebody else has given it in between', async (t) => {
  const real = await testRegistry(t);
  for (const seed of [50, 51]) await upload(real, 'mine', seed);
  const point = (version: number) =>
    real.setAlias('default', { name: 'mine', alias: 'prod', targets: [{ version, weight: 1 }], expected: null });
  await point(1);
  let isMoved = false;
  const registry: TestRegistry = {
    ...real,
    async setAlias(...change) {
      if (!isMoved) {
        isMoved = true;
        await point(2);
      }
      return await real.setAlias(...change);
    },
  };
  const { create, reaches } = await testJobs(t, { registry });
  const alias = { alias: 'prod', ifBetter: false, canaryWeight: 0.25 };
  const { id } = await create({ ...trains, alias });
  assert.equal((await reaches(id, 'succeeded')).adapter, 'mine@3');
  const [prod] = await real.aliases('default', 'mine');
  assert.deepEqual(prod?.targets, [
    { version: 2, weight: 0.75 },
    { version: 3, weight: 0.25 },
  ]);
});
