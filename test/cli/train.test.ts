// `lorikeet train` and `lorikeet jobs` against the app on a loopback port, with a trainer that is scripted.

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { trainingBar } from '../../src/cli/jobs/training-bar.ts';
import { listen, type TestAppOptions, testApp } from '../helpers/app.ts';
import { cliIn } from '../helpers/run-cli.ts';
import { rowsText } from '../helpers/test-jobs.ts';
import { until } from '../helpers/waits.ts';

async function server(t: TestContext, options: TestAppOptions = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'lorikeet-cli-train-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const testing = await testApp(t, options);
  const url = `http://127.0.0.1:${await listen(testing.app)}`;
  const run = cliIn(folder);
  const rows = join(folder, 'rows.jsonl');
  writeFileSync(rows, rowsText(4));
  const ask = (...args: string[]) => run([...args, '--url', url]);
  return { ...testing, folder, url, run, rows, ask };
}

const brief = ['--max-steps', '4', '--checkpoint-steps', '2'];

test('rows become an adapter, and its progress is told', async (t) => {
  const { ask, rows, training } = await server(t);
  const flags = ['--name', 'mine', '--alias', 'prod', '--r', '4', '--alpha', '9', '--targets', 'q_proj,v_proj'];
  const more = ['--lr', '0.002', '--schedule', 'cosine', '--in-order', '--use-rslora', '--seed', '3', ...brief];
  const trained = await ask('train', rows, '--validation', rows, ...flags, ...more);
  const ready = "mine@1 is ready. `lorikeet generate --adapter mine@1 '...'` asks it.\n";
  assert.deepEqual([trained.code, trained.stdout], [0, ready], trained.stderr);
  assert.match(trained.stderr, /^4 rows are on the server\. Ctrl-C leaves the job to itself\.\n/);
  assert.match(trained.stderr, /\nTraining started: 4 rows, 4 steps, 64 parameters\n/);
  assert.match(trained.stderr, /\[=+\] 4\/4 {2}loss 1\.250, validation 2\.250 {2}1,000 tokens\/s\n/);
  assert.match(trained.stderr, /mine:prod points to version 1\.\nThe job has successfully completed\n$/);
  const { hyperparameters } = training.trainer.jobs[0]!;
  assert.deepEqual(
    [hyperparameters.r, hyperparameters.loraAlpha, hyperparameters.targetModules, hyperparameters.maxSteps],
    [4, 9, ['q_proj', 'v_proj'], 4],
  );
  assert.deepEqual(
    [hyperparameters.shuffle, hyperparameters.useRslora, hyperparameters.schedule, hyperparameters.seed],
    [false, true, 'cosine', 3],
  );
  const again = await ask('train', rows, '--from', 'mine', '--suffix', 'mine', '--json', ...brief);
  const job = JSON.parse(again.stdout);
  assert.deepEqual([job.status, job.model, job.fine_tuned_model], ['succeeded', 'mine', 'mine@2']);
});

test('a job is left to itself, looked at, paused, resumed, cancelled', async (t) => {
  const { ask, rows, training } = await server(t, { trainer: { stepMs: null } });
  assert.match((await ask('jobs', 'list')).stdout, /^No jobs/);
  const detached = await ask('train', rows, '--detach', ...brief);
  const id = /^(ftjob-\w+) goes on\./.exec(detached.stdout)?.[1] ?? '';
  assert.match(detached.stdout, new RegExp(`jobs follow ${id}.*jobs cancel ${id}`));
  await until(() => training.trainer.alive === 1);
  training.trainer.step();
  assert.equal((await ask('jobs', 'pause', id)).stdout, `${id} is paused.\n`);
  await until(() => training.trainer.alive === 0);
  assert.equal((await ask('jobs', 'resume', id)).stdout, `${id} is validating_files.\n`);
  await until(() => training.trainer.alive === 1);
  assert.match((await ask('jobs', 'list')).stdout, new RegExp(`^ {2}${id} {2}running +step 1 of 4\n$`));
  assert.match((await ask('jobs', 'show', id)).stdout, / {2}status +running\n[\s\S]* {2}max_steps +4\n/);
  const following = ask('jobs', 'follow', id);
  assert.equal((await ask('jobs', 'cancel', id)).stdout, `${id} is cancelled.\n`);
  const followed = await following;
  assert.deepEqual([followed.code, followed.stdout], [1, `${id} was cancelled.\n`]);
  assert.equal(JSON.parse((await ask('jobs', 'list', '--json')).stdout)[0].status, 'cancelled');
  const late = await ask('jobs', 'resume', id);
  assert.deepEqual([late.code, late.stdout], [1, '']);
  assert.match(late.stderr, /\(job_state_conflict\)\n$/);
});

test('Ctrl-C leaves the job, and says how to find it again', async (t) => {
  const { app, ask, rows, training } = await server(t, { trainer: { stepMs: null } });
  const following = ask('train', rows, ...brief);
  await until(() => training.trainer.alive === 1 && process.listenerCount('SIGINT') > 0);
  // After this wait the client has received the job's first events.
  await setTimeout(300);
  process.emit('SIGINT');
  const { code, stdout } = await following;
  assert.equal(code, 0);
  assert.match(stdout, /^ftjob-\w+ goes on\./);
  assert.equal(training.trainer.alive, 1);
  assert.equal(process.listenerCount('SIGINT'), 0);
  // The client has opened a connection in place of the one that it broke, and sends nothing on it.
  app.server.closeAllConnections();
});

test('a refusal comes in the words of the server; a wrong command line is one line', async (t) => {
  const { ask, rows, folder } = await server(t, {
    trainer: { failure: { code: 'training_failed', message: 'So it is.' } },
  });
  writeFileSync(join(folder, 'bad.jsonl'), 'no JSON\n');
  const bad = await ask('train', join(folder, 'bad.jsonl'));
  assert.deepEqual([bad.code, bad.stdout], [1, '']);
  assert.match(bad.stderr, /^lorikeet: \S+bad\.jsonl: Line 1 is refused: .*\n.*\n$/);
  assert.match(bad.stderr, /\nEach line is JSON: .* \(file_invalid\)\n$/);
  const wrong = await ask('train', rows, '--r', '0', '--max-steps', '2.5');
  assert.deepEqual([wrong.code, wrong.stdout], [1, '']);
  assert.match(wrong.stderr, /^lorikeet: --(r|max-steps) must be .* \(invalid_parameter\)\n$/);
  const failed = await ask('train', rows, ...brief);
  assert.equal(failed.code, 1);
  assert.match(failed.stdout, /^ftjob-\w+ failed: So it is\.\n$/);
  for (const args of [
    ['train'],
    ['train', join(folder, 'none.jsonl')],
    ['train', rows, '--r', 'many'],
    ['train', rows, '--name', 'a', '--suffix', 'b'],
    ['jobs'],
    ['jobs', 'list', 'x'],
    ['jobs', 'show'],
    ['jobs', 'steal', 'x'],
  ]) {
    const { code, stdout, stderr } = await ask(...args);
    assert.deepEqual([code, stdout], [2, ''], args.join(' '));
    assert.match(stderr, /^lorikeet: .+\n$/);
  }
});

test('a terminal gets one line that is drawn over, a log few lines', () => {
  const draw = (isTTY: boolean) => {
    let written = '';
    const write = (text: string) => {
      written += text;
    };
    const out = { isTTY, write };
    let now = 0;
    const bar = trainingBar(out as never, { now: () => now, monotonic: () => now });
    bar.say('Training started');
    for (let step = 1; step <= 40; step++) {
      now += 1000;
      bar.step({ step, total_steps: 40, train_loss: 1, tokens_per_second: 2000, eta_seconds: (40 - step) * 60 });
    }
    bar.clear();
    return written;
  };
  const drawn = draw(true);
  assert.equal(drawn.split('\r').length, 41);
  assert.match(drawn, /1\/40 {2}loss 1\.000 {2}2,000 tokens\/s, 39 min left/);
  assert.equal(draw(false).trim().split('\n').length, 6);
});
