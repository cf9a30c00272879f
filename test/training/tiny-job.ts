// Jobs on the tiny models, which take a second or less each with the real graph.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Hyperparameters, TrainingJob } from '../../src/protocol/training-messages.ts';
import { temporaryFolder, tinyFiles } from '../helpers/tiny-lowered.ts';
import type { TinyModel } from '../helpers/tiny-models.ts';
import { defaultHyperparameters } from './hyperparameters.ts';

export const trainerEntry = new URL('../../src/training/main.ts', import.meta.url);

export type TinyJobOptions = {
  readonly model?: TinyModel;
  readonly rows?: readonly unknown[];
  readonly validation?: readonly unknown[] | null;
  readonly settings?: Partial<Hyperparameters>;
  readonly job?: Partial<TrainingJob>;
};

/** Eight rows of different lengths, which a tiny model can learn by heart. */
export const eightRows = Array.from({ length: 8 }, (_, index) => ({
  prompt: `item ${index}: `,
  completion: 'the answer is '.repeat(1 + (index % 3)) + 'abcdefgh'[index],
}));

/** A job with a folder of its own. */
export async function tinyJob(options: TinyJobOptions = {}): Promise<TrainingJob> {
  const { model = 'llama', rows = eightRows, validation = null, settings = {}, job = {} } = options;
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'job'));
  const write = (name: string, content: readonly unknown[]) => {
    const path = join(folder, name);
    writeFileSync(path, content.map((row) => `${JSON.stringify(row)}\n`).join(''));
    return path;
  };
  return {
    id: 'job',
    model: await tinyFiles(model),
    weightBits: null,
    cacheDir: join(folder, 'weights'),
    device: 'cpu',
    ortLibrary: null,
    cudaDir: '/nowhere',
    threads: 1,
    trainingFile: write('rows.jsonl', rows),
    validationFile: validation === null ? null : write('validation.jsonl', validation),
    hyperparameters: { ...defaultHyperparameters, ...settings },
    initial: null,
    folder: join(folder, 'job'),
    ...job,
  };
}
