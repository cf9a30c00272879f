// Versions and aliases of one name, and the version that a reference means. Knows no files, no rows and no requests.

import type { AdapterFiles } from '../core/adapter.ts';
import { LorikeetError } from '../core/errors.ts';
import type { Prng } from '../core/prng.ts';
import type { AdapterAlias, AdapterVersion, AliasTarget } from './adapter-registry.ts';
import type { Reference } from './reference.ts';

/** One version, as the database had it when it was read. */
export type Known = {
  readonly adapter: AdapterVersion;
  readonly files: AdapterFiles;
  /** Name of the base model that it was checked against. */
  readonly baseName: string;
};

export type Named = {
  /** Versions, oldest first; never empty. */
  readonly versions: readonly Known[];
  readonly aliases: ReadonlyMap<string, AdapterAlias>;
};

/**
 * The version that a name alone means: the newest that can be served, or else the newest ready one, or else the newest.
 * The query of lists chooses alike (`newest` in storage/adapter-table.ts).
 * @param baseDigest digest of the server's base model: versions for another are a second choice
 */
export function newest({ versions }: Named, baseDigest: string): Known {
  const isServed = ({ adapter }: Known) => adapter.state === 'ready' && adapter.baseDigest === baseDigest;
  return (
    versions.findLast(isServed) ?? versions.findLast(({ adapter }) => adapter.state === 'ready') ?? versions.at(-1)!
  );
}

/** Chooses a version where an alias has several targets. */
export type Choose = (targets: readonly AliasTarget[]) => number;

/** Throws `adapter_not_found`, `alias_not_found`. */
export function meant(named: Named, reference: Reference, text: string, baseDigest: string, choose: Choose): Known {
  if (reference.alias === null && reference.version === null) return newest(named, baseDigest);
  const version = reference.version ?? choose(aliasOf(named, reference.alias!, text).targets);
  const found = named.versions.find(({ adapter }) => adapter.version === version);
  if (found === undefined) throw missing(text);
  return found;
}

/** The error for a missing adapter; another tenant's adapter gives the same one. */
export function missing(reference: string): LorikeetError {
  return new LorikeetError('adapter_not_found', { message: `The adapter '${shorten(reference)}' does not exist.` });
}

function aliasOf({ aliases }: Named, alias: string, reference: string): AdapterAlias {
  const found = aliases.get(alias);
  if (found !== undefined) return found;
  throw missingAlias(reference);
}

export function missingAlias(reference: string): LorikeetError {
  return new LorikeetError('alias_not_found', { message: `The alias '${shorten(reference)}' does not exist.` });
}

export const heaviest = (targets: readonly AliasTarget[]): number =>
  targets.reduce((most, target) => (target.weight > most.weight ? target : most)).version;

/** Draws a version in proportion to the weights; weight 0 gets no requests. */
export function draw(targets: readonly AliasTarget[], random: Prng): number {
  if (targets.length === 1) return targets[0]!.version;
  const total = targets.reduce((sum, { weight }) => sum + weight, 0);
  let rest = random() * total;
  for (const { version, weight } of targets) {
    rest -= weight;
    if (rest < 0) return version;
  }
  // Rounding may leave a rest of a few units in the last place.
  return targets.findLast(({ weight }) => weight > 0)!.version;
}

const shorten = (text: string) => (text.length > 200 ? `${text.slice(0, 200)}...` : text);
