// Moves an alias, with an undo. A change applies only to the revision that was seen, and this tab remembers where the
// alias pointed before.

import { ask, part } from '../../api/client.ts';
import type { Adapter, Alias } from '../../api/types.ts';
import { say } from '../../state/toasts.ts';

export type Target = Alias['targets'][number];

const slot = (id: string) => `lorikeet-former ${id}`;

/** Where the alias pointed before this tab moved it; else the next older version than the one with most requests. */
export function formerTargets(alias: Alias, versions: readonly Adapter[]): Target[] | null {
  const kept = sessionStorage.getItem(slot(alias.id));
  const remembered = kept === null ? null : (JSON.parse(kept) as { revision: number; targets: Target[] });
  // With another revision somebody else has moved it since, and what this tab remembers is no step back.
  if (remembered?.revision === alias.revision) return remembered.targets;
  const current = [...alias.targets].sort((a, b) => b.weight - a.weight)[0]!.version;
  const below = versions.find(({ version, state }) => version < current && state === 'ready');
  return below === undefined ? null : [{ version: below.version, weight: 1 }];
}

type Change = {
  readonly name: string;
  readonly alias: string;
  readonly targets: readonly Target[];
  /** The alias as it was seen; null: it must not exist yet. */
  readonly before: Alias | null;
  readonly onChange: () => void;
};

/** Moves the alias. Throws ApiError: `alias_changed` where somebody else moved it meanwhile. */
export async function moveAlias({ name, alias, targets, before, onChange }: Change): Promise<void> {
  const headers = before === null ? { 'if-none-match': '*' } : { 'if-match': `"${before.revision}"` };
  const path = `/v1/adapters/${part(name)}/aliases/${part(alias)}`;
  const moved = await ask<Alias>(path, { method: 'PUT', headers, body: { targets } });
  const remembered = { revision: moved.revision, targets: before?.targets };
  if (before !== null) sessionStorage.setItem(slot(moved.id), JSON.stringify(remembered));
  const undo = () => {
    const failed = (error: Error) => say(error.message);
    if (before !== null) moveAlias({ name, alias, targets: before.targets, before: moved, onChange }).catch(failed);
  };
  say(`${name}:${alias} is ${targetsText(targets)}.`, before === null ? null : undo);
  onChange();
}

export async function removeAlias({ name, alias, revision }: Alias): Promise<void> {
  const headers = { 'if-match': `"${revision}"` };
  await ask(`/v1/adapters/${part(name)}/aliases/${part(alias)}`, { method: 'DELETE', headers });
  say(`${name}:${alias} is gone.`);
}

export function targetsText(targets: readonly Target[]): string {
  if (targets.length === 1) return `v${targets[0]!.version}`;
  return sharesOf(targets)
    .map(({ version, share }) => `v${version} ${Math.round(share * 100)} %`)
    .join(', ');
}

/** The targets with their shares of all requests, the largest first. */
export function sharesOf(targets: readonly Target[]): (Target & { share: number })[] {
  const all = targets.reduce((sum, { weight }) => sum + weight, 0);
  return targets.map((target) => ({ ...target, share: target.weight / all })).sort((a, b) => b.share - a.share);
}
