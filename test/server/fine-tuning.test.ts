// /v1/fine_tuning/jobs in OpenAI's shapes, with a scripted trainer.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventsOf, type TestApp, testApp } from '../helpers/app.ts';
import { rowsText } from '../helpers/test-jobs.ts';
import { until } from '../helpers/waits.ts';
import { rowsForm } from './form.ts';

const url = '/v1/fine_tuning/jobs';

async function rows({ app }: TestApp, count = 4): Promise<string> {
  return (await app.inject({ method: 'POST', url: '/v1/files', ...rowsForm(rowsText(count)) })).json().id;
}

async function ended({ app }: TestApp, id: string) {
  for (;;) {
    const job = (await app.inject(`${url}/${id}`)).json();
    if (['succeeded', 'failed', 'cancelled'].includes(job.status)) return job;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Makes a job and waits for its end. */
async function trained(testing: TestApp, body: object) {
  const made = await testing.post(url, { model: 'tiny', training_file: await rows(testing), ...body });
  assert.equal(made.statusCode, 200, made.body);
  return await ended(testing, made.json().id);
}

const brief = { max_steps: 4, checkpoint_steps: 2 };

test('a job has every field that OpenAI’s has, and ends as an adapter', async (t) => {
  const testing = await testApp(t);
  const training_file = await rows(testing);
  const made = await testing.post(url, { model: 'tiny', training_file, seed: 5, hyperparameters: brief });
  const job = made.json();
  assert.equal(job.status, 'validating_files');
  assert.deepEqual([job.fine_tuned_model, job.finished_at, job.trained_tokens, job.error], [null, null, null, null]);
  const done = await ended(testing, job.id);
  assert.equal(done.status, 'succeeded');
  assert.equal(done.fine_tuned_model, `${job.id.replace('ftjob-', 'ft-')}@1`);
  assert.equal(done.trained_tokens, 400);
  assert.deepEqual([done.seed, done.total_steps, done.training_file], [5, 4, training_file]);
  assert.ok(done.finished_at >= done.created_at);
  const results = await testing.app.inject(`/v1/files/${done.result_files[0]}/content`);
  assert.equal(results.body, 'step,train_loss,valid_loss\n1,2,\n2,1.5,\n3,1.3333333333333333,\n4,1.25,\n');
  const answer = await testing.post('/v1/generate', { prompt: 'x', adapter_id: done.fine_tuned_model });
  assert.equal(answer.json().adapter.name, done.fine_tuned_model.split('@')[0]);
});

test('a version says how it was trained; one that was uploaded says that it was not', async (t) => {
  const testing = await testApp(t);
  const { fine_tuned_model: _, ...job } = await trained(testing, { suffix: 'mine', hyperparameters: brief });
  const { provenance, source } = (await testing.app.inject('/v1/adapters/mine/versions/1')).json();
  assert.equal(source, 'training');
  assert.deepEqual([provenance.job, provenance.steps, provenance.trained_tokens], [job.id, 4, 400]);
  assert.deepEqual(provenance.hyperparameters, job.hyperparameters);
  const file = (await testing.app.inject(`/v1/files/${job.training_file}`)).json();
  assert.equal(provenance.training_file, file.digest);
  assert.deepEqual(provenance.loss_curve.at(-1), { step: 4, train_loss: 1.25 });
  await testing.registry.add('other');
  assert.equal((await testing.app.inject('/v1/adapters/other/versions/1')).json().provenance, null);
});

test('events in pages, and as a stream from the first to the last', async (t) => {
  const testing = await testApp(t);
  const { id } = await trained(testing, { hyperparameters: brief });
  const page = (await testing.app.inject(`${url}/${id}/events?limit=3`)).json();
  assert.deepEqual([page.object, page.data.length, page.has_more], ['list', 3, true]);
  const { data } = (await testing.app.inject(`${url}/${id}/events?limit=100`)).json();
  assert.equal(data[0].message, 'The job has successfully completed');
  const step = data.find((event: { type: string }) => event.type === 'metrics');
  assert.equal(step.message, 'Step 4/4: training loss=1.2500');
  assert.deepEqual(Object.keys(step.data).sort(), [
    ...['epoch', 'eta_seconds', 'grad_norm', 'learning_rate', 'step', 'tokens', 'tokens_per_second', 'total_steps'],
    'train_loss',
  ]);
  for (const [path, headers] of [
    [`${url}/${id}/events?stream=true`, {}],
    [`${url}/${id}/events`, { accept: 'text/event-stream' }],
  ] as const) {
    const stream = await testing.app.inject({ url: path, headers });
    assert.match(String(stream.headers['content-type']), /^text\/event-stream/);
    assert.deepEqual(eventsOf(stream.body), [...data.toReversed(), '[DONE]']);
  }
  const rest = eventsOf((await testing.app.inject(`${url}/${id}/events?stream=true&after=${data[2].id}`)).body);
  assert.deepEqual(rest, [data[1], data[0], '[DONE]']);
  const wrong = await testing.app.inject(`${url}/${id}/events?after=x`);
  assert.deepEqual([wrong.json().error.code, wrong.json().error.param], ['invalid_parameter', 'after']);
});

test('a stream begins before the job does, and ends with it', async (t) => {
  const testing = await testApp(t, { trainer: { stepMs: null } });
  const made = await testing.post(url, { model: 'tiny', training_file: await rows(testing), hyperparameters: brief });
  const { id } = made.json();
  const stream = testing.app.inject(`${url}/${id}/events?stream=true`);
  await until(() => testing.training.trainer.alive === 1);
  await testing.post(`${url}/${id}/cancel`, {});
  const events = eventsOf((await stream).body) as { message: string }[];
  assert.equal(events.at(-1), '[DONE]');
  assert.equal(events.at(-2)?.message, 'The job was cancelled');
});

test('checkpoints are models', async (t) => {
  const testing = await testApp(t);
  const { id } = await trained(testing, { suffix: 'c', hyperparameters: { max_steps: 6, checkpoint_steps: 2 } });
  const { data } = (await testing.app.inject(`${url}/${id}/checkpoints`)).json();
  assert.deepEqual(
    data.map((c: { step_number: number; fine_tuned_model_checkpoint: string; metrics: object }) => [
      c.step_number,
      c.fine_tuned_model_checkpoint,
      c.metrics,
    ]),
    [
      [4, 'c/step-4', { step: 4, train_loss: 1.25 }],
      [2, 'c/step-2', { step: 2, train_loss: 1.5 }],
    ],
  );
  const answer = await testing.post('/v1/completions', { model: 'c/step-4', prompt: 'x' });
  assert.equal(answer.statusCode, 200);
});

test('pause, resume, cancel', async (t) => {
  const testing = await testApp(t, { trainer: { stepMs: null } });
  const { trainer } = testing.training;
  const made = await testing.post(url, { model: 'tiny', training_file: await rows(testing), hyperparameters: brief });
  const { id } = made.json();
  await until(() => trainer.alive === 1);
  // As OpenAI's clients send it: without a body, and Python's client with a content type.
  const act = (verb: string, headers = {}) =>
    testing.app.inject({ method: 'POST', url: `${url}/${id}/${verb}`, headers });
  assert.equal((await act('pause')).json().status, 'paused');
  await until(() => trainer.alive === 0);
  assert.equal((await act('resume', { 'content-type': 'application/json' })).json().status, 'validating_files');
  await until(() => trainer.alive === 1);
  assert.equal((await act('cancel')).json().status, 'cancelled');
  const late = await act('resume');
  assert.deepEqual([late.statusCode, late.json().error.code], [409, 'job_state_conflict']);
});

test('jobs are listed newest first, each tenant its own', async (t) => {
  const testing = await testApp(t);
  const ids: string[] = [];
  for (let i = 0; i < 3; i++) ids.unshift((await trained(testing, { hyperparameters: brief })).id);
  const page = (await testing.app.inject(`${url}?limit=2`)).json();
  assert.deepEqual([page.data.map(({ id }: { id: string }) => id), page.has_more], [ids.slice(0, 2), true]);
  const rest = (await testing.app.inject(`${url}?limit=2&after=${page.last_id}`)).json();
  assert.deepEqual([rest.data.map(({ id }: { id: string }) => id), rest.has_more], [ids.slice(2), false]);
  const { key } = await testing.keys.create({ tenant: 'b', name: 'n', scopes: ['train'] });
  const headers = { authorization: `Bearer ${key}` };
  assert.deepEqual((await testing.app.inject({ url, headers })).json().data, []);
  for (const [method, path] of [
    ['GET', ''],
    ['GET', '/events'],
    ['GET', '/checkpoints'],
    ['POST', '/cancel'],
    ['POST', '/pause'],
    ['POST', '/resume'],
  ] as const) {
    const hidden = await testing.app.inject({ method, url: `${url}/${ids[0]}${path}`, headers });
    const missing = await testing.app.inject({ method, url: `${url}/ftjob-none${path}`, headers });
    assert.deepEqual([hidden.statusCode, hidden.json().error.code], [404, 'job_not_found']);
    assert.equal(hidden.body.replace(ids[0]!, 'ftjob-none'), missing.body);
  }
});

test('every choice is used, and what is auto is chosen', async (t) => {
  const testing = await testApp(t);
  const chosen = {
    ...{ max_steps: 4, batch_tokens: 512, learning_rate: 0.002, schedule: 'cosine', warmup_steps: 1 },
    ...{ weight_decay: 0.1, max_grad_norm: 0, r: 4, alpha: 16, target_modules: ['q_proj', 'v_proj'] },
    ...{ rank_pattern: { q_proj: 2 }, use_rslora: true, lora_dropout: 0.1, seed: 9, shuffle: false, max_tokens: 64 },
    ...{ eval_steps: 2, checkpoint_steps: 2, recompute: true },
  };
  const method = { type: 'supervised', supervised: { hyperparameters: chosen } };
  const job = await trained(testing, { method });
  assert.deepEqual(job.hyperparameters, chosen);
  assert.deepEqual(job.method.supervised.hyperparameters, chosen);
  assert.deepEqual(testing.training.trainer.jobs[0]?.hyperparameters.maxGradNorm, null);
  const auto = { n_epochs: 'auto', batch_size: 'auto', learning_rate_multiplier: 2, target_modules: 'all-linear' };
  const other = await trained(testing, { hyperparameters: auto });
  assert.deepEqual(
    [other.hyperparameters.n_epochs, other.hyperparameters.batch_size, other.hyperparameters.learning_rate],
    [10, 1, 0.002],
  );
  assert.equal(other.hyperparameters.target_modules.length, 7);
});

test('a wrong parameter is named by its path', async (t) => {
  const testing = await testApp(t, { trainer: { stepMs: null } });
  const training_file = await rows(testing);
  const h = (hyperparameters: object) => ({ method: { type: 'supervised', supervised: { hyperparameters } } });
  const path = 'method.supervised.hyperparameters';
  const cases: [object, string, string, RegExp][] = [
    [{ training_file: undefined }, 'missing_parameter', 'training_file', /required/],
    [{ training_file: 'file-x' }, 'file_not_found', 'training_file', /file-x/],
    [{ validation_file: 'file-x' }, 'file_not_found', 'validation_file', /file-x/],
    [{ model: 'nothing' }, 'model_not_found', 'model', /nothing/],
    [{ integrations: [{ type: 'wandb' }] }, 'unsupported_parameter', 'integrations', /not supported/],
    [{ method: { type: 'dpo' } }, 'unsupported_parameter', 'method.type', /dpo/],
    [{ sufix: 'x' }, 'unknown_parameter', 'sufix', /Did you mean suffix/],
    [{ suffix: 'a b' }, 'invalid_parameter', 'suffix', /letters/],
    [{ suffix: 'tiny' }, 'invalid_parameter', 'suffix', /base model/],
    [{ alias: ':' }, 'invalid_parameter', 'alias', /letters/],
    [{ canary_weight: 0.5 }, 'invalid_parameter', 'canary_weight', /needs alias/],
    [{ alias_if_better: true }, 'invalid_parameter', 'alias_if_better', /needs alias/],
    [{ alias: 'prod', alias_if_better: true }, 'invalid_parameter', 'alias_if_better', /validation_file/],
    [{ alias: 'prod', canary_weight: 1.5 }, 'invalid_parameter', 'canary_weight', /<= 1/],
    [{ ...h({}), hyperparameters: {} }, 'invalid_parameter', 'hyperparameters', /exclude/],
    [{ ...h({ seed: 1 }), seed: 2 }, 'invalid_parameter', 'seed', /twice/],
    [h({ n_epoch: 3 }), 'unknown_parameter', `${path}.n_epoch`, /Did you mean .*n_epochs/],
    [h({ n_epochs: 0 }), 'invalid_parameter', `${path}.n_epochs`, /from 1 to 100 or 'auto'/],
    [h({ r: 1000 }), 'invalid_parameter', `${path}.r`, /from 1 to 256/],
    [h({ learning_rate: 2 }), 'invalid_parameter', `${path}.learning_rate`, /at most 1/],
    [h({ target_modules: ['lm_head'] }), 'invalid_parameter', `${path}.target_modules[0]`, /one of q_proj/],
    [h({ target_modules: 'all' }), 'invalid_parameter', `${path}.target_modules`, /'all-linear'/],
    [h({ schedule: 'step' }), 'invalid_parameter', `${path}.schedule`, /'cosine'/],
    [h({ n_epochs: 1, max_steps: 1 }), 'invalid_parameter', 'max_steps', /exclude/],
    [h({ batch_size: 1, batch_tokens: 1 }), 'invalid_parameter', 'batch_tokens', /exclude/],
    [
      h({ learning_rate: 0.1, learning_rate_multiplier: 1 }),
      'invalid_parameter',
      'learning_rate_multiplier',
      /exclude/,
    ],
    [h({ patience: 2 }), 'invalid_parameter', 'patience', /validation_file/],
    [{ metadata: { a: 1 } }, 'invalid_parameter', 'metadata.a', /string/],
  ];
  for (const [body, code, param, message] of cases) {
    const answer = await testing.post(url, { model: 'tiny', training_file, ...body });
    const { error } = answer.json();
    assert.deepEqual([error?.code, error?.param], [code, param], JSON.stringify(body));
    assert.match(error.message, message);
  }
  assert.deepEqual((await testing.app.inject(url)).json().data, []);
  const results = await testing.post(url, { model: 'tiny', training_file, hyperparameters: brief });
  assert.equal(results.statusCode, 200);
});

test('an alias moves on success: wholly, for a share, or only to what is better', async (t) => {
  const testing = await testApp(t);
  const { trainer } = testing.training;
  const validation_file = await rows(testing, 2);
  let seed = 0;
  const train = (loss: number, body: object = {}) => {
    trainer.options = { validLoss: () => loss };
    return trained(testing, {
      suffix: 'm',
      alias: 'prod',
      validation_file,
      seed: ++seed,
      hyperparameters: brief,
      ...body,
    });
  };
  const targets = async () =>
    (await testing.app.inject('/v1/adapters/m/aliases/prod'))
      .json()
      .targets.map(({ version, weight }: { version: number; weight: number }) => [version, weight]);
  await train(2, { alias_if_better: true });
  assert.deepEqual(await targets(), [[1, 1]], 'there was none');
  const worse = await train(3, { alias_if_better: true });
  assert.deepEqual(await targets(), [[1, 1]]);
  const { data } = (await testing.app.inject(`${url}/${worse.id}/events?limit=100`)).json();
  assert.ok(
    data.some(({ message }: { message: string }) => /m:prod stays .* is 2 and the new one's 3\./.test(message)),
  );
  await train(1, { alias_if_better: true, canary_weight: 0.25 });
  assert.deepEqual(await targets(), [
    [1, 0.75],
    [3, 0.25],
  ]);
  const elsewhere = await rows(testing, 3);
  await train(0.5, { alias_if_better: true, validation_file: elsewhere });
  assert.equal((await targets()).length, 2, 'losses on other rows do not compare');
  await train(9);
  assert.deepEqual(await targets(), [[5, 1]]);
});

test('metrics count jobs, tokens, steps and trainers that died', async (t) => {
  const testing = await testApp(t, { trainer: { dieAfter: (lives) => (lives === 1 ? 3 : null) } });
  await trained(testing, { hyperparameters: brief });
  const scrape = async () => (await testing.app.inject('/metrics')).body;
  let body = await scrape();
  // Jobs are counted in the database, which runs on a thread of its own.
  while (!/^lorikeet_training_jobs\{state="succeeded"\} 1$/m.test(body)) body = await scrape();
  assert.match(body, /^lorikeet_training_jobs\{state="running"\} 0$/m);
  assert.match(body, /^lorikeet_trainer_restarts_total 1$/m);
});

test('the engine leaves room while a job trains, and only then', async (t) => {
  const testing = await testApp(t, { trainer: { stepMs: null } });
  const { trainer } = testing.training;
  const job = (await testing.post(url, { training_file: await rows(testing), hyperparameters: brief })).json();
  await until(() => trainer.alive === 1);
  assert.deepEqual(testing.engine.rooms, [0.5]);
  await testing.post(`${url}/${job.id}/pause`, {});
  await until(() => trainer.alive === 0 && testing.engine.rooms.length === 2);
  assert.deepEqual(testing.engine.rooms, [0.5, 0]);
});
