// Trains the example adapters through the training endpoint of a running server, asks them what they have never seen,
// and writes their files and the measured parts of their cards.
//
//     npm run train:examples -- [pirate order shell]
//
// LORIKEET_URL and LORIKEET_API_KEY say which server; the adapters become trained/pirate and so on there. The same
// rows, seed and number of threads give the same bytes.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { askServer } from '../src/cli/ask-server.ts';
import { runCli } from '../src/cli/main.ts';
import { loadConfig } from '../src/config.ts';
import type { Adapter, AdapterWithProvenance } from '../src/server/schemas/adapters.ts';
import type { Job } from '../src/server/schemas/fine-tuning.ts';
import type { GenerateAnswer } from '../src/server/schemas/generate.ts';
import { type Answered, withFigures } from './card.ts';
import { halved } from './halved.ts';

type Plan = { readonly r: number; readonly targets: string; readonly steps: number; readonly learningRate: number };

/** Few steps: each shows at its first answer what it learned. */
const plans: Readonly<Record<string, Plan>> = {
  pirate: { r: 8, targets: 'q_proj,v_proj', steps: 40, learningRate: 3e-3 },
  order: { r: 4, targets: 'q_proj,k_proj,v_proj,o_proj', steps: 30, learningRate: 3e-3 },
  shell: { r: 1, targets: 'all-linear', steps: 40, learningRate: 4e-3 },
};
const answerTokens = 80;
const files = { config: 'adapter_config.json', weights: 'adapter_model.safetensors' };

const server = askServer(loadConfig().config);
const names = process.argv.slice(2);
for (const name of names.length > 0 ? names : Object.keys(plans)) await make(name);

async function make(name: string): Promise<void> {
  const folder = fileURLToPath(new URL(name, import.meta.url));
  const trained = await train(name, folder);
  writeHalved(await pulled(trained), folder);
  const { id } = await lorikeet<Adapter>('adapters', 'push', folder, '--name', `trained/${name}`);
  const answers = await answersOf(id, join(folder, 'held-out.jsonl'));
  const card = join(folder, 'README.md');
  const { provenance, parameters } = await adapterOf(trained);
  writeFileSync(card, withFigures(readFileSync(card, 'utf8'), { ...provenance!, parameters, answers }));
}

/** @returns the new version */
async function train(name: string, folder: string): Promise<string> {
  const plan = plans[name];
  if (plan === undefined) throw new Error(`There is no example ${name}; there are ${Object.keys(plans).join(', ')}.`);
  const { r, targets, steps, learningRate } = plan;
  const [rows, heldOut] = [join(folder, 'train.jsonl'), join(folder, 'held-out.jsonl')];
  const job = await lorikeet<Job>(
    ...['train', rows, '--validation', heldOut, '--name', `trained/${name}`, '--seed', '1'],
    ...['--r', `${r}`, '--alpha', `${2 * r}`, '--targets', targets, '--batch-size', '8'],
    ...['--max-steps', `${steps}`, '--lr', `${learningRate}`, '--warmup-steps', '2'],
    // Only after the last step: the best of several checkpoints would have been chosen by the held-out rows.
    ...['--eval-steps', `${steps}`],
  );
  return job.fine_tuned_model!;
}

async function pulled(adapter: string): Promise<{ config: Uint8Array; weights: Uint8Array }> {
  const place = mkdtempSync(join(tmpdir(), 'lorikeet-examples-'));
  try {
    const to = join(place, 'pulled');
    await lorikeet('adapters', 'pull', adapter, '--to', to);
    return { config: readFileSync(join(to, files.config)), weights: readFileSync(join(to, files.weights)) };
  } finally {
    rmSync(place, { recursive: true });
  }
}

function writeHalved(trained: { config: Uint8Array; weights: Uint8Array }, folder: string): void {
  const { config, weights } = halved(trained);
  writeFileSync(join(folder, files.config), config);
  writeFileSync(join(folder, files.weights), weights);
}

function adapterOf(id: string): Promise<AdapterWithProvenance> {
  const [name = '', version] = id.split('@');
  return server.get(`/v1/adapters/${encodeURIComponent(name)}/versions/${version}`);
}

/** Greedy answers to each row's question, one after another, without the adapter and with it. */
async function answersOf(adapter: string, heldOut: string): Promise<Answered[]> {
  const answers = [];
  for (const line of readFileSync(heldOut, 'utf8').trim().split('\n')) {
    const { messages } = JSON.parse(line) as { messages: { role: string; content: string }[] };
    const [question, expected] = messages;
    const ask = async (more: object) => {
      const body = { messages: [question], max_tokens: answerTokens, temperature: 0, ...more };
      return ((await (await server.post('/v1/generate', body)).json()) as GenerateAnswer).text;
    };
    const [without, answer] = [await ask({}), await ask({ adapter_id: adapter })];
    answers.push({ question: question!.content, expected: expected!.content, without, answer });
  }
  return answers;
}

/** A command of the command line and the JSON that it prints; its progress is shown. Throws where it fails. */
async function lorikeet<T>(...args: string[]): Promise<T> {
  let printed = '';
  const stdout = new Writable({
    write(chunk, _encoding, done) {
      printed += chunk;
      done();
    },
  });
  const code = await runCli([...args, '--json'], { stdin: process.stdin, stdout, stderr: process.stderr });
  if (code !== 0) throw new Error(`lorikeet ${args.join(' ')}: ${printed}`);
  return JSON.parse(printed) as T;
}
