// The whole server in a storm while it trains: server, engine and trainer are processes of their own and are killed at
// random moments, over and over. Each job ends as an undisturbed one does: one version, of the same digest. Before some
// kills of a server its trainer is stopped, so that it outlives it and goes on when another trainer has its job.

import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/core/clock.ts';
import { type Prng, prng } from '../../src/core/prng.ts';
import { temporaryFolder } from '../helpers/tiny-lowered.ts';
import { gone, launchServer, type Part, type ServerProcess, signal } from './running-servers.ts';

/** Each folder has a server of its own: most of a storm is waiting. */
const [folders, killsEach] = [3, 11];
const parts: readonly Part[] = ['server', 'trainer', 'trainer', 'engine'];
const hyperparameters = {
  ...{ max_steps: 240, batch_size: 2, checkpoint_steps: 20, eval_steps: 60, r: 2, max_tokens: 32 },
  ...{ lora_dropout: 0.1, target_modules: ['q_proj', 'v_proj'] },
};
const rows = Array.from({ length: 9 }, (_, i) => `{"prompt":"${i} and","completion":" ${i + 1}"}\n`).join('');

type Job = { id: string; status: string; fine_tuned_model: string | null; error: unknown };
type Version = { version: number; digest: string };
type Kills = Record<Part | 'outlived', number>;

class Storm {
  readonly kills: Kills = { server: 0, engine: 0, trainer: 0, outlived: 0 };
  readonly #folder: string;
  readonly #random: Prng;
  readonly #outlived: number[] = [];
  #server: ServerProcess;

  constructor(folder: string, random: Prng) {
    this.#folder = folder;
    this.#random = random;
    this.#server = launchServer(folder);
  }

  /** Until it is answered: what is asked is asked of a server that may just start, or whose engine does. */
  async ask<T>(path: string, init?: RequestInit): Promise<T> {
    for (;;) {
      const url = await this.#server.url;
      assert.ok(url !== null, 'the server ended by itself');
      const answer = await fetch(`${url}${path}`, init);
      if (answer.ok) return (await answer.json()) as T;
      assert.equal(answer.status, 503, await answer.text());
      await sleep(20);
    }
  }

  post<T>(path: string, body: object): Promise<T> {
    const headers = { 'content-type': 'application/json' };
    return this.ask(path, { method: 'POST', headers, body: JSON.stringify(body) });
  }

  find = (id: string): Promise<Job> => this.ask(`/v1/fine_tuning/jobs/${id}`);

  async create(suffix: string): Promise<string> {
    const upload = async (): Promise<string> => {
      const form = new FormData();
      form.append('purpose', 'fine-tune');
      form.append('file', new Blob([rows]), 'rows.jsonl');
      return (await this.ask<{ id: string }>('/v1/files', { method: 'POST', body: form })).id;
    };
    const files = { training_file: await upload(), validation_file: await upload() };
    return (await this.post<Job>('/v1/fine_tuning/jobs', { ...files, suffix, seed: 4, hyperparameters })).id;
  }

  /** The digest of the only version that came of it. */
  async digestOf(id: string, suffix: string): Promise<string> {
    let job = await this.find(id);
    for (; !isOver(job); job = await this.find(id)) await sleep(20);
    assert.equal(job.status, 'succeeded', JSON.stringify(job.error));
    assert.equal(job.fine_tuned_model, `${suffix}@1`);
    const { data } = await this.ask<{ data: Version[] }>(`/v1/adapters/${suffix}/versions`);
    assert.equal(data.length, 1);
    return data[0]!.digest;
  }

  async killSome(id: string, wanted: number): Promise<void> {
    while (this.killed < wanted) {
      await sleep(this.#random() * 1500);
      const job = this.#random() < 0.8 ? await this.find(id) : null;
      if (job !== null && isOver(job)) return;
      await this.#kill(parts[Math.floor(this.#random() * parts.length)]!, id);
    }
  }

  get killed(): number {
    return this.kills.server + this.kills.engine + this.kills.trainer;
  }

  async #kill(part: Part, id: string): Promise<void> {
    if (part !== 'server') {
      if (signal(this.#server.pidOf(part), 'SIGKILL')) this.kills[part]++;
      return;
    }
    const trainer = this.#random() < 0.5 ? await this.#nextTrainer(id) : null;
    const isStopped = signal(trainer, 'SIGSTOP');
    await this.#server.kill();
    this.kills.server++;
    this.#server = launchServer(this.#folder);
    if (!isStopped) return;
    this.kills.outlived++;
    this.#outlived.push(trainer!);
    setTimeout(() => signal(trainer, 'SIGCONT'), 500 + this.#random() * 2500);
  }

  /** null where the job needs none any more. */
  async #nextTrainer(id: string): Promise<number | null> {
    for (;;) {
      const pid = this.#server.pidOf('trainer');
      if (pid !== null || isOver(await this.find(id))) return pid;
      await sleep(10);
    }
  }

  async end(): Promise<void> {
    for (const pid of this.#outlived) signal(pid, 'SIGCONT');
    for (const pid of this.#outlived) await gone(pid);
    const children = (['engine', 'trainer'] as const).map((part) => this.#server.pidOf(part));
    await this.#server.kill();
    for (const pid of children) if (pid !== null) await gone(pid);
  }
}

const isOver = ({ status }: Job) => ['succeeded', 'failed', 'cancelled'].includes(status);

async function weather(folder: string, random: Prng): Promise<{ kills: Kills; jobs: number; digest: string }> {
  mkdirSync(folder);
  const storm = new Storm(folder, random);
  try {
    const digest = await storm.digestOf(await storm.create('calm'), 'calm');
    let jobs = 0;
    for (; storm.killed < killsEach; jobs++) {
      const name = `stormy-${jobs}`;
      const id = await storm.create(name);
      await storm.killSome(id, killsEach);
      assert.equal(await storm.digestOf(id, name), digest, name);
    }
    const answer = await storm.post<{ adapter: { digest: string } }>('/v1/generate', {
      ...{ prompt: '1 and', max_tokens: 4, adapter_id: 'stormy-0' },
    });
    assert.equal(answer.adapter.digest, digest);
    // The row comes first.
    while (readdirSync(join(folder, 'data', 'training', 'work')).length > 0) await sleep(10);
    return { kills: storm.kills, jobs, digest };
  } finally {
    await storm.end();
  }
}

test('kill -9 of trainers, engines and servers while they train: every job gives what a calm one gives', {
  skip: process.platform !== 'linux',
}, async (t) => {
  const seed = Math.floor(systemClock.now()) % 1e9;
  t.diagnostic(`seed ${seed}`);
  const root = temporaryFolder();
  const all = await Promise.all(
    Array.from({ length: folders }, (_, index) => weather(join(root, String(index)), prng(seed + index))),
  );
  const sum = (of: (one: (typeof all)[number]) => number) => all.reduce((total, one) => total + of(one), 0);
  const counts = ['server', 'engine', 'trainer', 'outlived'] as const;
  const kills = Object.fromEntries(counts.map((name) => [name, sum((one) => one.kills[name])]));
  t.diagnostic(JSON.stringify({ kills, jobs: sum(({ jobs }) => jobs) }));
  assert.equal(new Set(all.map(({ digest }) => digest)).size, 1);
  assert.ok(sum(({ kills: { server, engine, trainer } }) => server + engine + trainer) >= 30);
});
