// Trains a plan and gives its adapter and figures. Finished runs are kept under the data dir and never repeated; others
// resume where they were paused.

import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../../src/config.ts';
import type { AdapterFiles } from '../../src/core/adapter.ts';
import type { ModelFiles } from '../../src/core/base-model.ts';
import { writeAtomically } from '../../src/models/write-atomically.ts';
import type { Hyperparameters } from '../../src/protocol/training-messages.ts';
import { adapterIn } from '../adapter-files.ts';
import { firstRows, headlessJob, runTrainer, usualHyperparameters } from '../training/headless.ts';
import { nameOf, type Plan } from './plans.ts';

export type Settings = {
  readonly config: Config;
  readonly model: ModelFiles;
  readonly threads: number | null;
  readonly trainingFile: string;
  readonly validation: { readonly path: string; readonly rows: number };
  readonly steps: number;
  readonly batchRows: number;
  readonly learningRate: number;
  readonly warmupSteps: number;
  /** One alpha for all ranks, as in the paper. */
  readonly loraAlpha: number;
};

export type Run = {
  readonly name: string;
  readonly validLoss: number;
  readonly parameters: number;
  readonly adapterBytes: number;
  readonly trainedTokens: number;
  readonly peakRssBytes: number;
  readonly adapter: AdapterFiles;
};

/** Gives the run where it is finished; null otherwise. */
export function finishedRun(plan: Plan, settings: Settings): Run | null {
  const path = join(folderOf(plan, settings), 'run.json');
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Run) : null;
}

/** Trains the plan; null where the run was paused. */
export async function trainOnce(plan: Plan, settings: Settings): Promise<Run | null> {
  const folder = folderOf(plan, settings);
  let parameters = 0;
  const job = headlessJob({ ...settings, hyperparameters: hyperparametersOf(plan, settings), folder });
  const { ended, validLoss, peakRssBytes } = await runTrainer(job, (event) => {
    if (event.type === 'started') ({ parameters } = event);
    if (event.type !== 'step' || event.metrics.step % 8 !== 0) return;
    const { step, trainLoss, tokensPerSecond } = event.metrics;
    console.log(`${nameOf(plan)} step ${step}: ${trainLoss.toFixed(3)}, ${tokensPerSecond.toFixed(0)} tokens/s`);
  });
  if (ended.type === 'paused') return null;
  const adapter = adapterIn(ended.folder);
  const run: Run = {
    ...{ name: nameOf(plan), validLoss: ended.bestValidLoss ?? validLoss!, parameters, adapter, peakRssBytes },
    ...{ adapterBytes: statSync(adapter.weights).size, trainedTokens: ended.trainedTokens },
  };
  await writeAtomically(join(folder, 'run.json'), JSON.stringify(run));
  return run;
}

function hyperparametersOf({ modules, r, rankPattern = {}, seed }: Plan, settings: Settings): Hyperparameters {
  const { steps, batchRows, learningRate, warmupSteps, loraAlpha } = settings;
  return {
    ...usualHyperparameters,
    // One validation after the last step, so that the loss is that of the same step in every run.
    ...{ maxSteps: steps, batchRows, learningRate, warmupSteps, evalSteps: steps, checkpointSteps: steps },
    ...{ r, loraAlpha, targetModules: modules, rankPattern, seed },
  };
}

/** Names the run's folder by everything that its figures depend on. */
function folderOf(plan: Plan, settings: Settings): string {
  const { config, model, trainingFile, validation } = settings;
  const parts = [model.digest, config.weightBits, hyperparametersOf(plan, settings)];
  const key = createHash('sha256').update(JSON.stringify(parts)).update(readFileSync(trainingFile));
  key.update(firstRows(validation.path, validation.rows));
  return join(config.dataDir, 'bench', 'paper', `${nameOf(plan)}-${key.digest('hex').slice(0, 12)}`);
}
