// Aliases: names that move between versions, by compare-and-swap, so that two people who promote at once do not undo
// each other unseen.

import { LorikeetError } from '../core/errors.ts';
import type { AdapterAlias, AdapterRegistry, AliasTarget } from './adapter-registry.ts';
import { aliasOf, missing, type Named } from './catalogue.ts';
import type { RegistryLimits } from './options.ts';
import type { Parts } from './parts.ts';
import { isAliasName } from './reference.ts';

export type Aliases = Pick<AdapterRegistry, 'aliases' | 'setAlias' | 'deleteAlias'>;

export function aliases(parts: Parts): Aliases {
  const { catalogue, options, exclusive } = parts;
  const named = (tenant: string, name: string): Named => {
    const found = catalogue.find(tenant, name);
    if (found === undefined) throw missing(name);
    return found;
  };
  return {
    async aliases(tenant, name) {
      return [...named(tenant, name).aliases.values()].toSorted((a, b) => (a.alias < b.alias ? -1 : 1));
    },
    setAlias(tenant, { name, alias, targets, expected }) {
      return exclusive(async () => {
        const { aliases: known, versions } = named(tenant, name);
        assertTargets(alias, targets, options.limits);
        for (const { version } of targets) {
          const found = versions.find(({ adapter }) => adapter.version === version);
          if (found === undefined || found.adapter.state === 'deleting') throw missing(`${name}@${version}`);
        }
        assertRevision(known.get(alias), expected);
        if (!known.has(alias) && known.size >= options.limits.aliases) {
          invalid('alias', `A name has at most ${options.limits.aliases} aliases.`);
        }
        const updatedAt = options.clock.now();
        const revision = await parts.aliases.set({ tenant, name, alias, updated_at: updatedAt }, targets);
        const ordered = targets
          .map(({ version, weight }) => ({ version, weight }))
          .sort((a, b) => a.version - b.version);
        const changed: AdapterAlias = { name, alias, targets: ordered, revision, updatedAt };
        known.set(alias, changed);
        return changed;
      });
    },
    deleteAlias(tenant, name, alias, expected) {
      return exclusive(async () => {
        const adapter = named(tenant, name);
        assertRevision(aliasOf(adapter, alias, `${name}:${alias}`), expected);
        await parts.aliases.delete(tenant, name, alias);
        adapter.aliases.delete(alias);
      });
    },
  };
}

function assertTargets(alias: string, targets: readonly AliasTarget[], limits: RegistryLimits): void {
  if (!isAliasName(alias)) {
    invalid('alias', "An alias has 1 to 63 letters, digits, '.', '_' or '-', and begins with a letter or digit.");
  }
  if (targets.length === 0) invalid('targets', 'An alias points to at least one version.');
  if (targets.length > limits.aliasTargets) {
    invalid('targets', `An alias points to at most ${limits.aliasTargets} versions.`);
  }
  if (new Set(targets.map(({ version }) => version)).size < targets.length) {
    invalid('targets', 'A version is a target twice.');
  }
  const isWeight = (weight: number) => Number.isFinite(weight) && weight >= 0;
  const total = targets.reduce((sum, { weight }) => sum + weight, 0);
  if (!targets.every(({ weight }) => isWeight(weight)) || !(total > 0 && Number.isFinite(total))) {
    invalid('targets', 'Weights are numbers from 0 on, and not all of them 0.');
  }
}

function assertRevision(alias: AdapterAlias | undefined, expected: number | null): void {
  if (expected !== null && expected !== (alias?.revision ?? 0)) throw new LorikeetError('alias_changed');
}

function invalid(param: string, message: string): never {
  throw new LorikeetError('invalid_parameter', { message, param });
}
