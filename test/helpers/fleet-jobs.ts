// Training jobs on servers in processes of their own.

import assert from 'node:assert/strict';
import { ask, json, post } from './fleet.ts';
import { waitFor } from './waits.ts';

export const rows = '{"prompt":"a","completion":"b"}\n'.repeat(4);

async function fileOf(url: string): Promise<string> {
  const form = new FormData();
  form.set('purpose', 'fine-tune');
  form.set('file', new Blob([rows]), 'rows.jsonl');
  return (await json(`${url}/v1/files`, { method: 'POST', body: form })).id;
}

export async function train(url: string, suffix: string, steps: number): Promise<string> {
  const hyperparameters = { max_steps: steps, checkpoint_steps: 10, r: 2, batch_size: 1, max_tokens: 32 };
  const method = { type: 'supervised', supervised: { hyperparameters } };
  const training_file = await fileOf(url);
  return (await post(`${url}/v1/fine_tuning/jobs`, { model: 'llama', training_file, suffix, seed: 3, method })).id;
}

export async function reaches(url: string, id: string, status: string) {
  let job = await json(`${url}/v1/fine_tuning/jobs/${id}`);
  const isThere = async () => {
    job = await json(`${url}/v1/fine_tuning/jobs/${id}`);
    if (job.status === status) return true;
    assert.ok(!['failed', 'cancelled', 'succeeded'].includes(job.status), JSON.stringify(job.error));
    return false;
  };
  await waitFor(() => `${id} is ${status}; it is ${JSON.stringify(job)}`, isThere, { everyMs: 50 });
  return job;
}

export const hasCheckpoint = (url: string, id: string): Promise<void> =>
  waitFor(
    `a checkpoint of ${id}`,
    async () => (await json(`${url}/v1/fine_tuning/jobs/${id}/checkpoints`)).data.length > 0,
  );

/** The events that a follower receives until the job ends. */
export async function followSteps(url: string, id: string): Promise<string[]> {
  const answer = await ask(`${url}/v1/fine_tuning/jobs/${id}/events?stream=true`);
  const text = await answer.text();
  return text.split('\n').filter((line) => line.startsWith('data: '));
}

export async function assertEachStepOnce(url: string, id: string, steps: number): Promise<void> {
  const { data } = await json(`${url}/v1/fine_tuning/jobs/${id}/events?limit=100`);
  // biome-ignore lint/suspicious/noExplicitAny: events of several kinds
  const taken = data.filter(({ type }: any) => type === 'metrics').map((event: any) => event.data.step);
  assert.deepEqual(
    taken,
    Array.from({ length: steps }, (_, i) => steps - i),
    'each step once',
  );
}
