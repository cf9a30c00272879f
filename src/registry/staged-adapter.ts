// An upload from its first byte to its version. Its order makes a crash safe at any point: bytes are written and
// flushed, checked, placed as a blob, and the row comes last. Before the row nobody sees them, and a start removes
// them.

import { join } from 'node:path';
import { LorikeetError } from '../core/errors.ts';
import { hexOf } from '../core/hex-of.ts';
import type { KeptField } from '../core/quota-check.ts';
import { adapterDigest } from '../formats/adapter-digest.ts';
import { adapterTable } from '../storage/adapter-table.ts';
import { configName, weightsName } from '../storage/blob-folder.ts';
import { acrossServers, contentKey } from '../storage/database.ts';
import { fileSha256, type Received, receive } from '../storage/receive.ts';
import { orStorageFull } from '../storage/storage-full.ts';
import type { AdapterRow } from '../storage/tables.ts';
import type { AdapterVersion, Provenance, StagedAdapter } from './adapter-registry.ts';
import { companionWarnings } from './companions.ts';
import { rewriteForeign } from './foreign-adapter.ts';
import { isMadeBy } from './made-by.ts';
import type { NameChange } from './names.ts';
import type { CheckedAdapter } from './options.ts';
import { type Companions, noCompanions, ownTemplate, takeCompanion, templateDigest } from './own-template.ts';
import type { Parts } from './parts.ts';
import { isAdapterName } from './reference.ts';
import { fromRow, toRow } from './version-row.ts';

type Upload = { readonly tenant: string; readonly digest: string };
type Staged = {
  config: Received | null;
  weights: Received | null;
  upload: Upload | null;
  readonly companions: Companions;
};
type Content = { readonly config: Received; readonly weights: Received };

/** @param end gives the upload's place back; further calls do nothing. */
export function stagedAdapter(parts: Parts, tenant: string, folder: string, end: () => void): StagedAdapter {
  const { blobs, uploads, options } = parts;
  const { files, limits } = options;
  const staged: Staged = { config: null, weights: null, upload: null, companions: noCompanions() };

  const take = (name: string, bytes: AsyncIterable<Uint8Array> | Uint8Array, bytesMax: number): Promise<Received> =>
    orStorageFull(async () => {
      const file = await files.create(join(folder, name));
      try {
        const source = bytes instanceof Uint8Array ? [bytes] : bytes;
        const received = await receive(source, file, bytesMax, () => tooLarge(name, bytesMax));
        await file.sync();
        return received;
      } finally {
        await file.close();
      }
    });

  /** A folder that cannot be removed now is removed at the next start. */
  const discard = async () => {
    await blobs.discard(folder).catch(() => {});
    end();
  };

  return {
    async config(bytes) {
      staged.config = await take(configName, bytes, limits.adapterConfigBytes);
    },
    async weights(bytes) {
      staged.weights = await take(weightsName, withinQuota(options, tenant, bytes), limits.adapterWeightsBytes);
    },
    async uploadedWeights(tenant, digest) {
      const path = join(folder, weightsName);
      const bytes = await orStorageFull(async () => {
        if (await linkOwn(parts, tenant, { config: staged.config, digest, path }))
          return (await files.stat(path))!.bytes;
        return await uploads.linkTo(tenant, digest, path);
      });
      staged.weights = { bytes, sha256: await fileSha256(files, path) };
      staged.upload = { tenant, digest };
      if (`sha256:${staged.weights.sha256}` === digest) return;
      await uploads.remove(tenant, digest);
      throw new LorikeetError('upload_not_found', { message: 'The upload was damaged on the disk. Send it again.' });
    },
    companion: (name, bytes = new Uint8Array()) =>
      takeCompanion(staged.companions, name, bytes instanceof Uint8Array ? [bytes] : bytes),
    async publish(name, provenance) {
      assertName(name, options.base.name);
      const { content, warnings, template: inWeights } = await asPeft(parts, folder, staged);
      const found = await check(parts, folder, content);
      const { companions } = staged;
      const template =
        options.templates === undefined
          ? null
          : await ownTemplate(options.templates, { tenant: provenance.tenant, companions, inWeights });
      const idle = companionWarnings(companions.names, options.templates !== undefined);
      const checked = { ...found, warnings: [...warnings, ...found.warnings, ...idle] };
      const result = await publish(parts, folder, { name, provenance, content, checked, template });
      // The version is made. What cannot be removed here only takes room until the next start.
      if (staged.upload !== null) await uploads.remove(staged.upload.tenant, staged.upload.digest).catch(() => {});
      await discard();
      return result;
    },
    discard,
  };
}

/** Passes the bytes on, and throws where they exceed the tenant's quota, before they are written. */
async function* withinQuota({ assertQuota }: Parts['options'], tenant: string, source: AsyncIterable<Uint8Array>) {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    assertQuota?.({ tenant, keyPrefix: null }, 'adapter_bytes', { tenant: bytes });
    yield chunk;
  }
}

type Linked = { readonly config: Received | null; readonly digest: string; readonly path: string };

/**
 * Links the weights of the tenant's own intact version with this content to `path`. @returns false where it has none
 */
async function linkOwn({ blobs, contents, names, options }: Parts, tenant: string, { config, digest, path }: Linked) {
  if (config === null || !/^sha256:[0-9a-f]{64}$/.test(digest)) return false;
  const content = adapterDigest(config.sha256, hexOf(digest));
  if (!(await names.adapters.hasOwn(tenant, content)) || !(await contents.verify(content))) return false;
  try {
    await options.files.link(blobs.filesOf(content).weights, path);
    return true;
  } catch (error) {
    // The content was removed in between.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

function assertName(name: string, baseName: string): void {
  if (!isAdapterName(name)) {
    const message =
      "A name has 1 to 127 letters, digits, '.', '_', '-' or '/', begins with a letter or digit, " +
      "and has no '..', no '//' and no '/' at its end.";
    throw new LorikeetError('invalid_parameter', { message, param: 'name' });
  }
  if (name === baseName) {
    throw new LorikeetError('invalid_parameter', { message: `'${name}' is the base model's name.`, param: 'name' });
  }
}

/** Both files in PEFT's layout, whatever layout they came in. */
async function asPeft({ options }: Parts, folder: string, staged: Staged) {
  const { files, base } = options;
  const weights = present(staged.weights, weightsName);
  const rewritten = await orStorageFull(() => rewriteForeign(files, folder, weights.bytes, () => base.shape()));
  const {
    warnings = [],
    template = null,
    ...content
  } = rewritten ?? { config: present(staged.config, configName), weights };
  return { content, warnings, template };
}

function present<T>(part: T | null, name: string): T {
  if (part !== null) return part;
  throw new LorikeetError('missing_parameter', { message: `${name} is missing.`, param: name });
}

function tooLarge(name: string, bytesMax: number): never {
  const message = `${name} is larger than the limit of ${bytesMax} bytes.`;
  throw new LorikeetError('body_too_large', { message, param: name });
}

/** Checks both files. The config is read whole, the weights tensor by tensor. */
async function check({ options }: Parts, folder: string, content: Content): Promise<CheckedAdapter> {
  const { files, base } = options;
  const config = await files.open(join(folder, configName));
  const weights = await files.open(join(folder, weightsName)).catch(async (error) => {
    await config.close();
    throw error;
  });
  try {
    const bytes = await config.read(0, content.config.bytes);
    const reader = { bytes: content.weights.bytes, read: weights.readSync };
    return await options.check(bytes, reader, base);
  } finally {
    await Promise.all([config.close(), weights.close()]);
  }
}

type NewVersion = {
  readonly name: string;
  readonly provenance: Provenance;
  readonly content: Content;
  readonly checked: CheckedAdapter;
  /** The adapter's own chat template; null: the base model's applies. */
  readonly template: string | null;
};

async function publish(parts: Parts, folder: string, made: NewVersion) {
  const { blobs, contents, names } = parts;
  const digest = adapterDigest(made.content.config.sha256, made.content.weights.sha256);
  const isKnown = await names.adapters.hasDigest(digest);
  // An intact content is not replaced: requests may use it.
  if (isKnown && !contents.isTrusted(digest)) await contents.verify(digest);
  if (!contents.isTrusted(digest)) {
    await orStorageFull(() => blobs.share(folder, digest, made.content, isKnown));
  }
  const { value, seq } = await parts.exclusive(async () => {
    try {
      if (!contents.isTrusted(digest)) {
        await blobs.place(folder, digest, made.content);
        await contents.trust(digest);
      }
      const { tenant } = made.provenance;
      return await names.change(tenant, made.name, (rows) => insert(parts, rows, digest, made), {
        lock: contentKey(digest),
      });
    } catch (error) {
      // Where the database does not answer, the content stays: the next start looks again.
      await removeUnknown(parts, digest).catch(() => {});
      throw error;
    }
  });
  // Once the row is there no server removes the content; where one has done so just before, it is put again.
  if (parts.changes.isShared) await orStorageFull(() => blobs.confirm(folder, digest, made.content));
  await parts.changes.everywhere(seq);
  return value;
}

function removeUnknown({ blobs, contents, options }: Parts, digest: string): Promise<void> {
  return acrossServers(options.database, contentKey(digest), async (rows) => {
    if (await adapterTable(rows).hasDigest(digest)) return;
    contents.forget(digest);
    await blobs.remove(digest);
  });
}

/**
 * Inserts the row, which makes the version. The condition on the name's other makers is checked here, because nobody
 * else changes the name during this transaction.
 */
async function insert(parts: Parts, { adapters, lock }: NameChange, digest: string, made: NewVersion) {
  const { options } = parts;
  const { name: baseName, digest: baseDigest } = options.base;
  const { training, onlyOwnName = false, ...provenance } = made.provenance;
  const ownDigest = made.template === null ? null : templateDigest(made.template);
  const isSame = (row: AdapterRow) =>
    row.digest === digest &&
    row.base_digest === baseDigest &&
    row.template_digest === ownDigest &&
    row.state !== 'deleting';
  const rows = await adapters.ofName(provenance.tenant, made.name);
  const isOwn = isMadeBy(provenance);
  // A repeated publication finds its version even where another maker has added one since.
  const same = rows.find((row) => isSame(row) && (!onlyOwnName || isOwn(fromRow(row))));
  if (same !== undefined) return { adapter: fromRow(same), created: false };
  if (onlyOwnName && !rows.every((row) => isOwn(fromRow(row)))) {
    throw new LorikeetError('insufficient_permissions', { message: `'${made.name}' has versions of another maker.` });
  }
  await assertQuota(parts, { adapters, lock }, made);
  const adapter = {
    ...{ name: made.name, digest, baseDigest, ...provenance, ...made.checked },
    bytes: made.content.weights.bytes,
    templateDigest: ownDigest,
    createdAt: options.clock.now(),
    state: 'ready' as const,
  };
  const record = training === undefined ? null : JSON.stringify(training);
  const version = await adapters.insert(toRow(adapter, baseName), { training: record, template: made.template });
  return { adapter: { ...adapter, version } satisfies AdapterVersion, created: true };
}

type Quotable = Pick<NameChange, 'adapters' | 'lock'>;

/**
 * Checks the quotas of adapters. It counts them only for those who have such a quota, which bounds the count as well.
 */
async function assertQuota({ options }: Parts, { adapters, lock }: Quotable, { provenance, content }: NewVersion) {
  const { tenant, createdBy: keyPrefix } = provenance;
  const keeper = { tenant, keyPrefix };
  const has = (field: KeptField) => options.hasQuota?.(keeper, field) ?? true;
  if (options.assertQuota === undefined || !(has('adapters') || has('adapter_bytes'))) return;
  await lock(`adapters of ${tenant}`);
  const [kept, own] = [await adapters.kept(tenant), await adapters.kept(tenant, keyPrefix)];
  const { bytes } = content.weights;
  options.assertQuota(keeper, 'adapters', { tenant: kept.count + 1, key: own.count + 1 });
  options.assertQuota(keeper, 'adapter_bytes', { tenant: kept.bytes + bytes, key: own.bytes + bytes });
}
