// Converts the body of a new training job. Throws for what OpenAI's API has and this server has not; knows no store.

import { LorikeetError } from '../../core/errors.ts';
import type { AliasMove, NewJob } from '../../jobs/training-jobs.ts';
import type { JobBody } from '../schemas/fine-tuning.ts';
import type { HyperparametersBody } from '../schemas/hyperparameters.ts';
import { choicesOf } from './hyperparameters.ts';

/** @param base name of the base model, which a body without `model` means */
export function newJobOf(body: JobBody, createdBy: string | null, base: string): Omit<NewJob, 'mayPublish'> {
  if ((body.integrations ?? []).length > 0) {
    throw unsupported('integrations', 'integrations are not supported: this server calls no others.');
  }
  const hyperparameters = hyperparametersOf(body);
  return {
    createdBy,
    model: body.model ?? base,
    trainingFile: body.training_file,
    validationFile: body.validation_file ?? null,
    choices: { ...choicesOf(hyperparameters), ...(body.seed === undefined ? {} : { seed: body.seed }) },
    suffix: body.suffix ?? null,
    alias: aliasOf(body),
    metadata: body.metadata ?? null,
  };
}

/** The hyperparameters, which are under `method`, or beside it in bodies of older clients. */
function hyperparametersOf({ method, hyperparameters, seed }: JobBody): HyperparametersBody {
  if (method !== undefined && method.type !== 'supervised') {
    throw unsupported('method.type', `The method ${method.type} is not supported; supervised is.`);
  }
  const inMethod = method?.supervised?.hyperparameters;
  if (inMethod !== undefined && hyperparameters !== undefined) {
    throw invalid('hyperparameters', 'hyperparameters and method.supervised.hyperparameters exclude each other.');
  }
  const chosen = inMethod ?? hyperparameters ?? {};
  if (chosen.seed !== undefined && seed !== undefined && chosen.seed !== seed) {
    throw invalid('seed', 'seed is there twice, with two values.');
  }
  return chosen;
}

function aliasOf({ alias, alias_if_better: ifBetter, canary_weight: canaryWeight }: JobBody): AliasMove | null {
  if (alias !== undefined) return { alias, ifBetter: ifBetter ?? false, canaryWeight: canaryWeight ?? null };
  if (ifBetter !== undefined) throw invalid('alias_if_better', 'alias_if_better needs alias.');
  if (canaryWeight !== undefined) throw invalid('canary_weight', 'canary_weight needs alias.');
  return null;
}

const invalid = (param: string, message: string) => new LorikeetError('invalid_parameter', { message, param });
const unsupported = (param: string, message: string) => new LorikeetError('unsupported_parameter', { message, param });
