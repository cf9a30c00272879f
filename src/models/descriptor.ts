// Base models with a name: small checked-in files, /models/*.json, which pin the digest of the one file that a name
// stands for and say where it can be fetched. Every source of a name gives the same bytes, so a name is reproducible.

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { readJsonObject } from './read-sidecar.ts';

export type ModelDescriptor = {
  readonly name: string;
  readonly about: string;
  readonly license: string;
  readonly file: { readonly name: string; readonly bytes: number; readonly sha256: string };
  /** Place on the hub. The commit is pinned, since a branch may move. */
  readonly hub: { readonly repo: string; readonly revision: string; readonly path: string } | null;
  /** A Python package that contains the file. */
  readonly wheel: { readonly requirement: string; readonly bytes: number; readonly member: string } | null;
};

const checkedIn = fileURLToPath(new URL('../../models', import.meta.url));

/** Reads all descriptors. They are part of the program and trusted; test/models checks each of them. */
export function modelDescriptors(folder: string = checkedIn): ModelDescriptor[] {
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
  return files.sort().map((name) => {
    const { hub = null, wheel = null, ...rest } = readJsonObject(join(folder, name)) as unknown as ModelDescriptor;
    return { ...rest, hub, wheel };
  });
}

/** Finds a descriptor. Case is ignored, since some file systems ignore it. */
export function findDescriptor(name: string, folder?: string): ModelDescriptor | null {
  const wanted = name.toLowerCase();
  return modelDescriptors(folder).find((descriptor) => descriptor.name.toLowerCase() === wanted) ?? null;
}
