// Lists adapters, and leases them for requests. Every request calls `lease`: it asks only memory, except for a name
// that was not asked for lately, and for a content that was not read since the start.

import { LRUCache } from 'lru-cache';
import { LorikeetError } from '../core/errors.ts';
import { limits } from '../core/limits.ts';
import type { AdapterLease, AdapterRegistry, AliasTarget, TrainingRecord } from './adapter-registry.ts';
import { believe } from './believe.ts';
import { draw, heaviest, type Known, meant, missing } from './named.ts';
import type { Parts } from './parts.ts';
import { parseReference } from './reference.ts';
import { fromRow } from './version-row.ts';

export type Reading = Pick<
  AdapterRegistry,
  'list' | 'listAll' | 'named' | 'versions' | 'find' | 'template' | 'training' | 'lease'
>;

export function reading(parts: Parts): Reading {
  const { names, holds, blobs, contents, options } = parts;
  const { base, random } = options;
  const believed = believe(parts);
  const drawn = (targets: readonly AliasTarget[]) => draw(targets, random);
  const template = templateReader(names.adapters);
  const newestFirst = (versions: readonly Known[]) => versions.map(({ adapter }) => adapter).reverse();
  const listAll: Reading['listAll'] = async (page) => (await names.adapters.newest(page, base.digest)).map(fromRow);

  /** Calls `work` with the version that the reference means. */
  const use = <T>(tenant: string, text: string, choose: typeof drawn, work: (known: Known) => T): T | Promise<T> => {
    const reference = parseReference(text);
    if (reference === null) throw missing(text);
    const find = () =>
      names.use(tenant, reference.name, (named) => {
        if (named === undefined) throw missing(text);
        return work(meant(named, reference, text, base.digest, choose));
      });
    return reference.version === null ? believed.name(text, find) : believed.version(reference, tenant, find);
  };

  const hold = (known: Known, reference: string): AdapterLease => {
    assertServed(known, reference);
    const { baseDigest, digest } = known.adapter;
    if (baseDigest !== base.digest) throw otherBase(known, base.name);
    blobs.use(digest);
    return holds.take(known);
  };

  return {
    listAll,
    list: (tenant, { after, limit }) =>
      listAll({ tenant, after: after === null ? null : { tenant, name: after }, limit }),
    async named(tenant, asked) {
      const found = await names.several(tenant, asked);
      return new Map(
        found
          .entries()
          .map(([name, { versions, aliases }]) => [
            name,
            { versions: newestFirst(versions), aliases: [...aliases.values()] },
          ]),
      );
    },
    async versions(tenant, name) {
      return await believed.named(tenant, name, ({ versions }) => newestFirst(versions));
    },
    async find(tenant, reference) {
      return await use(tenant, reference, heaviest, ({ adapter }) => adapter);
    },
    template,
    async training({ tenant, name, version }) {
      const record = await names.adapters.training(tenant, name, version);
      return record === undefined ? null : (JSON.parse(record) as TrainingRecord);
    },
    async lease(tenant, reference) {
      const known = use(tenant, reference, drawn, (meant) => hold(meant, reference));
      const lease = known instanceof Promise ? await known : known;
      if (contents.isTrusted(lease.files.digest)) return lease;
      try {
        if (!(await contents.verify(lease.files.digest))) throw damaged(reference);
        return lease;
      } catch (error) {
        lease.release();
        throw error;
      }
    },
  };
}

/** Keeps templates in memory by digest: a conversation asks for one again and again. */
function templateReader(adapters: Parts['names']['adapters']): Reading['template'] {
  const kept = new LRUCache<string, string>({ max: limits.chatTemplatesKept });
  return async ({ tenant, name, version, templateDigest: digest }) => {
    if (digest === null) return null;
    const source = kept.get(digest) ?? (await adapters.template(tenant, name, version));
    // The row is deleted with its version, which has no lease any more.
    if (source === undefined) throw missing(`${name}@${version}`);
    kept.set(digest, source);
    return source;
  };
}

function assertServed({ adapter }: Known, reference: string): void {
  if (adapter.state === 'corrupt') throw damaged(reference);
  if (adapter.state === 'ready') return;
  throw new LorikeetError('adapter_deleting', { message: `The adapter '${reference}' is being deleted.` });
}

function damaged(reference: string): LorikeetError {
  const message = `The adapter '${reference}' is damaged and is not served. Upload it again.`;
  return new LorikeetError('adapter_corrupt', { message });
}

/** Such a version is listed all the same: it is served again when the server has its base model. */
function otherBase({ adapter, baseName }: Known, runs: string): LorikeetError {
  const { name, version, baseDigest } = adapter;
  const made = `was made for the base model ${baseName} (${baseDigest.slice(0, 19)})`;
  return new LorikeetError('adapter_unsupported', {
    message: `'${name}@${version}' ${made}; this server runs ${runs}.`,
  });
}
