// A training job on a running server, for measuring: it is made once, paused and resumed, and its speed is read.

import { openAsBlob } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

export type MeasuredJob = {
  /** Resolves when the job trains and its first step is done. */
  resume(): Promise<void>;
  /** Resolves when the job's process has ended. */
  pause(): Promise<void>;
  /** Starts counting steps. */
  steps(): StepCount;
};

/** @returns tokens and seconds of the steps that ended since counting began; a step's pauses count as its time */
export type StepCount = () => Promise<{ readonly tokens: number; readonly seconds: number }>;

type Job = { readonly id: string; readonly status: string };
type Event = { readonly data: { step: number; tokens?: number; tokens_per_second?: number } | null };

/** More steps than any measurement takes. */
const stepsMax = 100_000;

/** Makes a job on the rows of the file `rows` in their order, `batch` rows a step, r = 4 on q and v. */
export async function measuredJob(url: string, rows: string, batch: number): Promise<MeasuredJob> {
  const form = new FormData();
  form.append('purpose', 'fine-tune');
  form.append('file', await openAsBlob(rows), 'rows.jsonl');
  const { id: training_file } = await answerOf<{ id: string }>(`${url}/v1/files`, { method: 'POST', body: form });
  const hyperparameters = {
    ...{ max_steps: stepsMax, batch_size: batch, r: 4, alpha: 8, target_modules: ['q_proj', 'v_proj'] },
    ...{ learning_rate: 1e-4, shuffle: false, checkpoint_steps: stepsMax },
  };
  const jobs = `${url}/v1/fine_tuning/jobs`;
  const { id } = await post<Job>(jobs, { training_file, hyperparameters });
  const events = async () => (await answerOf<{ data: Event[] }>(`${jobs}/${id}/events?limit=100`)).data;
  const lastStep = async () => Math.max(0, ...(await events()).flatMap(({ data }) => data?.step ?? []));
  const reaches = async (status: string) => {
    for (;;) {
      const job = await answerOf<Job>(`${jobs}/${id}`);
      if (job.status === status) return;
      if (job.status === 'failed') throw new Error('the job failed');
      await sleep(50);
    }
  };
  return {
    async resume() {
      const before = await lastStep();
      const { status } = await answerOf<Job>(`${jobs}/${id}`);
      if (status === 'paused') await post(`${jobs}/${id}/resume`, {});
      await reaches('running');
      while ((await lastStep()) <= before) await sleep(100);
    },
    async pause() {
      await post(`${jobs}/${id}/pause`, {});
      await reaches('paused');
    },
    steps() {
      const before = lastStep();
      return async () => {
        const since = await before;
        const done = (await events()).flatMap(({ data }) => (data !== null && data.step > since ? [data] : []));
        const tokens = done.reduce((sum, step) => sum + step.tokens!, 0);
        return { tokens, seconds: done.reduce((sum, step) => sum + step.tokens! / step.tokens_per_second!, 0) };
      };
    },
  };
}

const post = <T>(url: string, body: object): Promise<T> =>
  answerOf(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

async function answerOf<T>(url: string, init?: RequestInit): Promise<T> {
  const answer = await fetch(url, init);
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  return (await answer.json()) as T;
}
