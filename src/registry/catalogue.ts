// All versions and aliases in memory, as the database has them: every request looks its adapter up here. Knows what a
// reference means; knows no files and no rows.

import type { AdapterFiles } from '../core/adapter.ts';
import { LorikeetError } from '../core/errors.ts';
import type { Prng } from '../core/prng.ts';
import type { AdapterAlias, AdapterState, AdapterVersion, AliasTarget } from './adapter-registry.ts';
import { parseReference } from './reference.ts';

/** One version: what is known of it, and who uses it. */
export type Entry = {
  adapter: AdapterVersion;
  readonly files: AdapterFiles;
  /** What the base model was called that it was checked against. */
  readonly baseName: string;
  /** Holds on it. */
  leases: number;
  /** Tells those who hold it that it is to go. */
  readonly deleting: AbortController;
  /** Set while a deletion waits for the last of them. */
  onFree: (() => void) | null;
};

/** All that goes by one name. */
export type Named = {
  /** Oldest first; never empty. */
  readonly versions: Entry[];
  readonly aliases: Map<string, AdapterAlias>;
};

export type Catalogue = ReturnType<typeof catalogue>;

/** @param baseDigest of the base model that runs here: versions for another are listed, and never what a name means. */
export function catalogue(baseDigest: string) {
  const tenants = new Map<string, Map<string, Named>>();
  const byDigest = new Map<string, Set<Entry>>();
  const none: ReadonlySet<Entry> = new Set();
  const find = (tenant: string, name: string): Named | undefined => tenants.get(tenant)?.get(name);

  const newest = ({ versions }: Named): Entry => {
    const isServed = ({ adapter }: Entry) => adapter.state === 'ready' && adapter.baseDigest === baseDigest;
    return (
      versions.findLast(isServed) ?? versions.findLast(({ adapter }) => adapter.state === 'ready') ?? versions.at(-1)!
    );
  };

  return {
    find,
    /** What a name alone means: its newest version that can be served, or else the newest. */
    newest,
    /** Versions with this content, whoever has them. */
    ofDigest: (digest: string): ReadonlySet<Entry> => byDigest.get(digest) ?? none,
    /** All versions that a tenant has. */
    ofTenant: (tenant: string): Entry[] =>
      [...(tenants.get(tenant)?.values() ?? [])].flatMap(({ versions }) => versions),
    digests: (): string[] => [...byDigest.keys()],
    add(entry: Entry): void {
      const { tenant, name, digest } = entry.adapter;
      const names = getOrMake(tenants, tenant, () => new Map<string, Named>());
      getOrMake(names, name, (): Named => ({ versions: [], aliases: new Map() })).versions.push(entry);
      getOrMake(byDigest, digest, () => new Set<Entry>()).add(entry);
    },
    remove(entry: Entry): void {
      const { tenant, name, digest } = entry.adapter;
      const named = find(tenant, name)!;
      named.versions.splice(named.versions.indexOf(entry), 1);
      if (named.versions.length === 0) tenants.get(tenant)!.delete(name);
      const entries = byDigest.get(digest)!;
      entries.delete(entry);
      if (entries.size === 0) byDigest.delete(digest);
    },
    /** The name's version of this content, made for the base model that runs, unless it is going. */
    same(tenant: string, name: string, digest: string): Entry | undefined {
      return find(tenant, name)?.versions.find(
        ({ adapter }) => adapter.digest === digest && adapter.baseDigest === baseDigest && adapter.state !== 'deleting',
      );
    },
    /** `choose` says the version where an alias has several. Throws `adapter_not_found`, `alias_not_found`. */
    resolve(tenant: string, text: string, choose: (targets: readonly AliasTarget[]) => number): Entry {
      const reference = parseReference(text);
      const named = reference === null ? undefined : find(tenant, reference.name);
      if (reference === null || named === undefined) throw missing(text);
      if (reference.alias === null && reference.version === null) return newest(named);
      const version = reference.version ?? choose(aliasOf(named, reference.alias!, text).targets);
      const entry = named.versions.find(({ adapter }) => adapter.version === version);
      if (entry === undefined) throw missing(text);
      return entry;
    },
  };
}

export const newEntry = (known: Pick<Entry, 'adapter' | 'files' | 'baseName'>): Entry => ({
  ...known,
  leases: 0,
  deleting: new AbortController(),
  onFree: null,
});

export function setState(entry: Entry, state: AdapterState): void {
  entry.adapter = { ...entry.adapter, state };
}

/** The same for an adapter that is not there and one that another tenant has. */
export function missing(reference: string): LorikeetError {
  return new LorikeetError('adapter_not_found', { message: `The adapter '${shorten(reference)}' does not exist.` });
}

export function aliasOf({ aliases }: Named, alias: string, reference: string): AdapterAlias {
  const found = aliases.get(alias);
  if (found !== undefined) return found;
  throw new LorikeetError('alias_not_found', { message: `The alias '${shorten(reference)}' does not exist.` });
}

export const heaviest = (targets: readonly AliasTarget[]): number =>
  targets.reduce((most, target) => (target.weight > most.weight ? target : most)).version;

/** A share of requests proportional to each weight; 0 gets none. */
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

function getOrMake<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const found = map.get(key);
  if (found !== undefined) return found;
  const made = make();
  map.set(key, made);
  return made;
}
