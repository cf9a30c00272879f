// The trainer's process, killed and paused for real at random moments. However a job was interrupted, its result has
// the digest of an undisturbed run.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { environmentForChildren } from '../../src/config.ts';
import { prng } from '../../src/core/prng.ts';
import { trainerProcessStarter } from '../../src/protocol/trainer-process.ts';
import type { TrainerCommand, TrainerEvent, TrainingJob } from '../../src/protocol/training-messages.ts';
import { idlePolicy, schedulingPolicies } from '../helpers/scheduling-policies.ts';
import { testCudaDir, testDevice, testDeviceName } from '../helpers/test-runtime.ts';
import { resultFiles } from './result-files.ts';
import { eightRows, tinyJob, trainerEntry } from './tiny-job.ts';

const start = trainerProcessStarter(trainerEntry, environmentForChildren());

type Run = {
  readonly pid: number;
  readonly events: TrainerEvent[];
  readonly exit: Promise<string>;
  /** The first event of this type, or null where the process ends without one. */
  first(type: TrainerEvent['type']): Promise<TrainerEvent | null>;
  send(command: TrainerCommand): void;
  kill(): void;
};

function launch(job: TrainingJob): Run {
  const events: TrainerEvent[] = [];
  const waiting: { type: TrainerEvent['type']; resolve(event: TrainerEvent | null): void }[] = [];
  const { promise: exit, resolve: exited } = Promise.withResolvers<string>();
  const child = start({
    onEvent(event) {
      events.push(event);
      for (const { type, resolve } of waiting) if (type === event.type) resolve(event);
    },
    onExit(reason) {
      for (const { resolve } of waiting) resolve(null);
      exited(reason);
    },
  });
  child.send({ type: 'start', job });
  return {
    pid: child.pid!,
    events,
    exit,
    first: (type) =>
      new Promise((resolve) => {
        const event = events.find((other) => other.type === type);
        if (event) resolve(event);
        else waiting.push({ type, resolve });
      }),
    send: (command) => child.send(command),
    kill: () => child.kill(),
  };
}

const testPlace = { device: testDeviceName, cudaDir: testCudaDir };

const stepsOf = ({ events }: Run) =>
  events.flatMap((event) => (event.type === 'step' ? [[event.metrics.step, event.metrics] as const] : []));

/** Short jobs with several micro-batches in a step, and with validations and checkpoints in the middle of epochs. */
const settings = { epochs: 20, batchRows: 3, shuffle: true, loraDropout: 0.1, evalSteps: 7, checkpointSteps: 5 };
const interrupted = () => tinyJob({ settings, validation: eightRows.slice(0, 3) });

/** Resolves when this process has made `count` steps, or has ended. */
async function stepsCame(run: Run, count: number): Promise<void> {
  let isOver = false;
  run.exit.then(() => {
    isOver = true;
  });
  while (!isOver && stepsOf(run).length < count) await sleep(1);
}

test('kill -9 at random moments: the same digest, the same loss at each step', async (t) => {
  const job = await interrupted();
  const whole = launch(job);
  assert.ok((await whole.first('finished')) !== null, JSON.stringify(whole.events.at(-1)));
  await whole.exit;
  const { digest } = resultFiles(join(job.folder, 'result'));
  const expected = new Map(stepsOf(whole).map(([step, { trainLoss, validLoss }]) => [step, [trainLoss, validLoss]]));
  assert.equal(expected.size, 60);

  const random = prng(1);
  let kills = 0;
  for (let jobs = 0; kills < 12 || jobs < 2; jobs++) {
    const again = { ...(await interrupted()), cacheDir: job.cacheDir };
    for (let [isFinished, done] = [false, 0]; !isFinished; ) {
      const run = launch(again);
      // Kills from before the first step to after the last, and often while a checkpoint is written, however fast this
      // goes.
      const count = Math.floor(random() * (66 - done));
      const moment = random() < 0.5 ? run.first('checkpoint') : stepsCame(run, count);
      const killed = moment.then(() => sleep(random() * 20));
      isFinished = (await Promise.race([run.first('finished'), killed])) !== undefined;
      if (!isFinished) {
        run.kill();
        kills++;
      }
      await run.exit;
      isFinished ||= run.events.some(({ type }) => type === 'finished');
      for (const [step, { trainLoss, validLoss }] of stepsOf(run)) {
        assert.deepEqual([trainLoss, validLoss], expected.get(step), `step ${step}`);
        done = Math.max(done, step);
      }
      const left = readdirSync(again.folder);
      assert.ok(left.length <= 3, `${left}`);
    }
    assert.equal(resultFiles(join(again.folder, 'result')).digest, digest);
  }
  t.diagnostic(`${kills} kills`);
});

test('paused again and again: each time a checkpoint of the last step, and at the end the same digest', async () => {
  const [whole, parted] = [await interrupted(), await interrupted()];
  const run = launch(whole);
  await run.first('finished');
  await run.exit;
  let step = 0;
  for (let pauses = 0; ; pauses++) {
    assert.ok(pauses < 70);
    const part = launch(parted);
    const started = await part.first('started');
    assert.ok(started?.type === 'started');
    assert.equal(started.resumedStep, step);
    // Pauses after some steps each time.
    if (pauses < 3) await part.first('step').then(() => part.send({ type: 'pause' }));
    assert.match(await part.exit, /exit code 0/);
    const end = part.events.at(-1)!;
    if (end.type === 'finished') break;
    assert.ok(end.type === 'paused', JSON.stringify(end));
    assert.ok(end.step > step);
    step = end.step;
  }
  const [expected, found] = [whole, parted].map(({ folder }) => resultFiles(join(folder, 'result')).digest);
  assert.equal(found, expected);
});

test('whoever takes its folder is not disturbed by it any more', async () => {
  const job = await interrupted();
  const old = launch(job);
  await old.first('checkpoint');
  process.kill(old.pid, 'SIGSTOP');
  const taken = { ...job, folder: `${job.folder}-taken` };
  renameSync(job.folder, taken.folder);
  const next = launch(taken);
  await next.first('checkpoint');
  process.kill(old.pid, 'SIGCONT');
  const end = await old.first('failed');
  assert.ok(end?.type === 'failed' && end.code === 'training_failed');
  assert.ok((await next.first('finished')) !== null);
  await Promise.all([old.exit, next.exit]);
  assert.ok(!existsSync(job.folder));
  const calm = await interrupted();
  const whole = launch(calm);
  assert.ok((await whole.first('finished')) !== null);
  const [expected, found] = [calm, taken].map(({ folder }) => resultFiles(join(folder, 'result')).digest);
  assert.equal(found, expected);
  await whole.exit;
});

test('cancelled, it ends at once', async () => {
  const run = launch(await tinyJob({ settings: { epochs: 1000 } }));
  await run.first('step');
  run.send({ type: 'cancel' });
  assert.match(await run.exit, /exit code 0/);
  assert.ok(!run.events.some(({ type }) => type === 'finished' || type === 'paused'));
});

test('it computes only while cores idle, all of its threads', { skip: process.platform !== 'linux' }, async () => {
  const run = launch(await tinyJob({ settings: { epochs: 1000 } }));
  await run.first('step');
  const policies = schedulingPolicies(run.pid);
  assert.equal(policies[0], idlePolicy);
  // Node has helper threads of its own by then, none of which computes.
  assert.ok(policies.filter((policy) => policy === idlePolicy).length > 1, `${policies}`);
  run.send({ type: 'cancel' });
  await run.exit;
});

test('for a device that it feeds it does not wait until a core idles', {
  skip: process.platform !== 'linux' || testDevice.kind === 'cpu',
}, async () => {
  const run = launch(await tinyJob({ settings: { epochs: 1000 }, job: testPlace }));
  assert.ok((await run.first('step')) !== null, JSON.stringify(run.events));
  assert.ok(!schedulingPolicies(run.pid).includes(idlePolicy));
  run.send({ type: 'cancel' });
  await run.exit;
});

test('a failed job says why and ends', async () => {
  const run = launch(await tinyJob({ rows: [{ prompt: 'a' }] }));
  const end = await run.first('failed');
  assert.ok(end?.type === 'failed' && end.code === 'file_invalid');
  assert.match(await run.exit, /exit code 1/);
});

const isAlive = (pid: number) => {
  const stat = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8') : null;
  return stat !== null && !/\) Z /.test(stat);
};

test('it ends when its parent is killed, and steps back for others', {
  skip: process.platform !== 'linux',
}, async () => {
  const job = await tinyJob({ settings: { epochs: 100_000 } });
  const description = join(job.folder, '..', 'job.json');
  writeFileSync(description, JSON.stringify(job));
  const parent = spawn(
    process.execPath,
    [fileURLToPath(new URL('../fixtures/training-parent.ts', import.meta.url)), description],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const [line] = (await once(parent.stdout, 'data')) as [Buffer];
  const pid = Number(String(line));
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  assert.equal(Number(fields[16]), 5, 'nice');
  parent.kill('SIGKILL');
  for (let turn = 0; turn < 500 && isAlive(pid); turn++) await sleep(10);
  assert.ok(!isAlive(pid));
});
