// Prepares a job's row from a request: finds its files and model and completes its hyperparameters. What cannot be
// trained is refused here and not hours later.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fusedModules, type TargetModule } from '../core/adapter.ts';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import { virtualTypes } from '../formats/peft-config.ts';
import { isAdapterName, isAliasName } from '../registry/reference.ts';
import { configName, weightsName } from '../storage/blob-folder.ts';
import { fileFor } from './file-for.ts';
import { completeHyperparameters, trainableModules } from './hyperparameters.ts';
import { type JobParts, workFolder } from './parts.ts';
import { ownName } from './result.ts';
import { shareInitial } from './trainer-folder.ts';
import type { TrainingFile, TrainingFiles } from './training-files.ts';
import type { HyperparameterChoices, JobSpec, NewJob } from './training-jobs.ts';

export type PreparedJob = {
  readonly spec: JobSpec;
  readonly training: TrainingFile;
  readonly validation: TrainingFile | null;
};

/**
 * Prepares a job. Links the adapter that it continues from into the job's folder, so that the adapter may be deleted.
 */
export async function prepareJob(
  parts: JobParts,
  files: TrainingFiles,
  { tenant, id }: { readonly tenant: string; readonly id: string },
  asked: NewJob,
): Promise<PreparedJob> {
  const { options } = parts;
  const shape = options.base.shape();
  if (shape.fusedRows) assertWholeModules(asked.choices.targetModules ?? []);
  const training = await rowsFor(files, tenant, asked.trainingFile, 'training_file');
  const validation =
    asked.validationFile === null ? null : await rowsFor(files, tenant, asked.validationFile, 'validation_file');
  const adapterName = asked.suffix ?? ownName(id);
  assertNames(parts, asked, adapterName);
  const initial = asked.model === options.base.files.name ? null : await takeInitial(parts, tenant, id, asked);
  const choices = { ...asked.choices, ...initial?.choices };
  const data = { rows: training.rows, contextTokens: shape.context, seed: options.newSeed() };
  const { createdBy, model, suffix, alias, metadata, mayPublish = true } = asked;
  const spec: JobSpec = {
    ...{ createdBy, model, suffix, alias, metadata, adapterName, mayPublish },
    hyperparameters: completeHyperparameters(choices, data),
    trainingDigest: training.digest,
    validationDigest: validation?.digest ?? null,
    baseDigest: options.base.files.digest,
    initial: initial?.digest ?? null,
  };
  return { spec, training, validation };
}

const rowsFor = (files: TrainingFiles, tenant: string, id: string, param: string): Promise<TrainingFile> =>
  fileFor(files, tenant, id, { param, purpose: 'fine-tune', rule: 'only fine-tune is trained on' });

function assertNames({ options }: JobParts, { alias, validationFile, choices }: NewJob, name: string): void {
  // Names of checkpoints are longer than the adapter's name.
  if (!isAdapterName(name) || !isAdapterName(`${name}/step-${limits.trainingSteps}`)) {
    invalid('suffix', "It becomes the adapter's name: letters, digits, '.', '_', '-' and '/'.");
  }
  if (name === options.base.files.name) invalid('suffix', `'${name}' is the base model's name.`);
  if (alias !== null && !isAliasName(alias.alias)) {
    invalid('alias', "An alias has 1 to 63 letters, digits, '.', '_' or '-', and begins with a letter or digit.");
  }
  if (alias?.ifBetter && validationFile === null) {
    invalid('alias_if_better', 'Without validation_file there is no loss to compare.');
  }
  if ((choices.patience ?? null) !== null && validationFile === null) {
    invalid('patience', 'Without validation_file there is no loss to watch.');
  }
}

/** PEFT has such linears as one module with one pair of A and B. */
function assertWholeModules(chosen: readonly TargetModule[]): void {
  for (const parts of Object.values(fusedModules)) {
    const missing = parts.filter((part) => !chosen.includes(part));
    if (missing.length === 0 || missing.length === parts.length) continue;
    invalid('target_modules', `The base model has ${parts.join(', ')} as one module: choose all of them, or none.`);
  }
}

type Initial = { readonly digest: string; readonly choices: HyperparameterChoices };

/** Hyperparameters that are those of the adapter to continue from, with callers' names. */
const decided = {
  r: 'r',
  loraAlpha: 'alpha',
  targetModules: 'target_modules',
  rankPattern: 'rank_pattern',
  useRslora: 'use_rslora',
} as const;

async function takeInitial(parts: JobParts, tenant: string, id: string, asked: NewJob): Promise<Initial> {
  const { registry, files } = parts.options;
  for (const [name, param] of Object.entries(decided)) {
    if (asked.choices[name as keyof typeof decided] !== undefined) {
      invalid(param, `The adapter '${asked.model}' that the job goes on from decides it.`);
    }
  }
  const lease = await registry.lease(tenant, asked.model).catch((error) => {
    if (!(error instanceof LorikeetError)) throw error;
    const isMissing = error.code === 'adapter_not_found' || error.code === 'alias_not_found';
    const message = isMissing ? `The model '${asked.model}' does not exist.` : error.message;
    throw new LorikeetError(isMissing ? 'model_not_found' : error.code, { message, param: 'model', cause: error });
  });
  try {
    const config = JSON.parse(await readFile(lease.files.config, 'utf8')) as Record<string, unknown>;
    assertTrainable(asked.model, config, lease.adapter.targetModules);
    const folder = join(workFolder(parts, id), 'initial');
    await files.makeFolder(folder);
    await files.link(lease.files.config, join(folder, configName));
    await files.link(lease.files.weights, join(folder, weightsName));
    await shareInitial(parts, id);
    return {
      digest: lease.adapter.digest,
      choices: {
        r: lease.adapter.r,
        loraAlpha: Number(config.lora_alpha ?? 8),
        targetModules: lease.adapter.targetModules as readonly TargetModule[],
        rankPattern: (config.rank_pattern ?? {}) as Record<string, number>,
        useRslora: config.use_rslora === true,
      },
    };
  } finally {
    lease.release();
  }
}

function assertTrainable(model: string, config: Readonly<Record<string, unknown>>, modules: readonly string[]): void {
  const refuse = (what: string) =>
    new LorikeetError('unsupported_parameter', {
      message: `'${model}' ${what}, which is not trained.`,
      param: 'model',
    });
  if (Object.hasOwn(virtualTypes, String(config.peft_type))) throw refuse('is an adapter of virtual tokens');
  if (config.use_dora === true) throw refuse('is a DoRA adapter');
  const other = modules.find((module) => !trainableModules.includes(module as TargetModule));
  if (other !== undefined) throw refuse(`touches ${other}`);
}

function invalid(param: string, message: string): never {
  throw new LorikeetError('invalid_parameter', { message, param });
}
