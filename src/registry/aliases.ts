// Aliases: names that move between versions, by compare-and-swap, so that of two people who change one at the same time
// neither undoes the other's change unseen.

import { LorikeetError } from '../core/errors.ts';
import type { AdapterAlias, AdapterRegistry, AliasTarget } from './adapter-registry.ts';
import { believe } from './believe.ts';
import { missing, missingAlias } from './named.ts';
import type { NameTables } from './names.ts';
import type { RegistryLimits } from './options.ts';
import type { Parts } from './parts.ts';
import { isAdapterName, isAliasName } from './reference.ts';

export type Aliases = Pick<AdapterRegistry, 'aliases' | 'setAlias' | 'deleteAlias'>;

export function aliases(parts: Parts): Aliases {
  const { names, options, exclusive, changes } = parts;
  const believed = believe(parts);
  const { limits, clock } = options;
  return {
    aliases: (tenant, name) => believed.named(tenant, name, (named) => [...named.aliases.values()]),
    setAlias(tenant, { name, alias, targets, expected }) {
      const change = async (rows: NameTables): Promise<AdapterAlias> => {
        const versions = await rows.adapters.ofName(tenant, name);
        if (versions.length === 0) throw missing(name);
        assertTargets(alias, targets, limits);
        const there = new Set(versions.filter(({ state }) => state !== 'deleting').map(({ version }) => version));
        for (const { version } of targets) if (!there.has(version)) throw missing(`${name}@${version}`);
        const known = await rows.aliases.ofNames(tenant, [name]);
        const current = known.find((one) => one.alias === alias);
        assertRevision(current, expected);
        if (current === undefined && known.length >= limits.aliases) {
          invalid('alias', `A name has at most ${limits.aliases} aliases.`);
        }
        const updatedAt = clock.now();
        const revision = await rows.aliases.set({ tenant, name, alias, updated_at: updatedAt }, targets);
        const ordered = targets.map(({ version, weight }) => ({ version, weight }));
        return { name, alias, targets: ordered.sort((a, b) => a.version - b.version), revision, updatedAt };
      };
      return inOrder(tenant, name, change);
    },
    deleteAlias(tenant, name, alias, expected) {
      return inOrder(tenant, name, async (rows) => {
        if ((await rows.adapters.ofName(tenant, name)).length === 0) throw missing(name);
        const known = await rows.aliases.ofNames(tenant, [name]);
        const current = known.find((one) => one.alias === alias);
        if (current === undefined) throw missingAlias(`${name}:${alias}`);
        assertRevision(current, expected);
        await rows.aliases.delete(tenant, name, alias);
      });
    },
  };

  /** Makes a change of the name. Resolves when no server answers by its earlier state. */
  async function inOrder<T>(tenant: string, name: string, change: (rows: NameTables) => Promise<T>): Promise<T> {
    if (!isAdapterName(name)) throw missing(name);
    const { value, seq } = await exclusive(() => names.change(tenant, name, change));
    await changes.everywhere(seq);
    return value;
  }
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

function assertRevision(alias: { readonly revision: number } | undefined, expected: number | null): void {
  if (expected !== null && expected !== (alias?.revision ?? 0)) throw new LorikeetError('alias_changed');
}

function invalid(param: string, message: string): never {
  throw new LorikeetError('invalid_parameter', { message, param });
}
