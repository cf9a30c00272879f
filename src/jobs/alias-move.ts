// Points an alias to a new version: wholly, for a share of the requests, or only if it is better.

import { LorikeetError } from '../core/errors.ts';
import type {
  AdapterAlias,
  AdapterRegistry,
  AdapterVersion,
  AliasTarget,
  TrainingRecord,
} from '../registry/adapter-registry.ts';
import type { AliasMove } from './training-jobs.ts';

export type AliasMoved = {
  /** A sentence for the job's events. */
  readonly said: string;
  /** The targets before and after; null: the alias has the version already, or stays where it is. */
  readonly change: { readonly before: readonly AliasTarget[]; readonly after: readonly AliasTarget[] } | null;
};

/**
 * Moves the alias as `AliasMove` asks. Does nothing where the alias points to the version already. Starts again where
 * somebody else has changed the alias in between, since the move depends on the alias's targets.
 */
export async function moveAlias(...asked: Parameters<typeof tryMove>): Promise<AliasMoved> {
  for (;;) {
    try {
      return await tryMove(...asked);
    } catch (error) {
      if (!(error instanceof LorikeetError && error.code === 'alias_changed')) throw error;
    }
  }
}

/** Throws `alias_changed`. */
async function tryMove(
  registry: AdapterRegistry,
  { tenant, name, version }: AdapterVersion,
  { alias, ifBetter, canaryWeight }: AliasMove,
  training: TrainingRecord,
): Promise<AliasMoved> {
  const full = `${name}:${alias}`;
  const before = (await registry.aliases(tenant, name)).find((one) => one.alias === alias);
  const stays = (said: string): AliasMoved => ({ said, change: null });
  if (before?.targets.some((target) => target.version === version)) {
    return stays(`${full} points to version ${version}.`);
  }
  const reason = ifBetter && before !== undefined ? await reasonToStay(registry, tenant, before, training) : null;
  if (reason !== null) return stays(`${full} stays where it is: ${reason}.`);
  const targets = targetsOf(before?.targets ?? [], version, canaryWeight);
  await registry.setAlias(tenant, { name, alias, targets, expected: before?.revision ?? 0 });
  const share = targets.length === 1 ? '' : ` for ${canaryWeight} of the requests`;
  const said = `${full} points to version ${version}${share}.`;
  return { said, change: { before: before?.targets ?? [], after: targets } };
}

/** The new targets: the earlier ones keep their proportions in the share that the new version leaves. */
function targetsOf(before: readonly AliasTarget[], version: number, canaryWeight: number | null): AliasTarget[] {
  if (canaryWeight === null || before.length === 0) return [{ version, weight: 1 }];
  const total = before.reduce((sum, { weight }) => sum + weight, 0);
  const others = before.map((target) => ({ ...target, weight: (target.weight / total) * (1 - canaryWeight) }));
  return [...others, { version, weight: canaryWeight }];
}

/** Why the alias does not move; null: it moves. Losses are compared only on the same validation rows. */
async function reasonToStay(
  registry: AdapterRegistry,
  tenant: string,
  { name, targets }: AdapterAlias,
  { validLoss, validationFile }: TrainingRecord,
): Promise<string | null> {
  const { version } = targets.reduce((most, target) => (target.weight > most.weight ? target : most));
  const current = await registry.training({ tenant, name, version });
  if (current === null || current.validLoss === null) return `version ${version} has no validation loss to beat`;
  if (current.validationFile !== validationFile) return `version ${version} was validated on other rows`;
  if (validLoss !== null && validLoss < current.validLoss) return null;
  return `its validation loss is ${current.validLoss} and the new one's ${validLoss}`;
}
