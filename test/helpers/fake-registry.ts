// The registry's contract in memory, with files in a temporary folder: no tensors are checked. Counts leases, so that a
// test sees that each is let go, and fails at will.

import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { appendFile, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { LorikeetError } from '../../src/core/errors.ts';
import type {
  AdapterAlias,
  AdapterRegistry,
  AdapterState,
  AdapterVersion,
  StagedAdapter,
} from '../../src/registry/adapter-registry.ts';

type Row = AdapterVersion & { state: AdapterState; folder: string; leases: number; onFree: (() => void)[] };

export type FakeRegistry = AdapterRegistry & {
  /** Makes a version without an upload. */
  add(name: string, options?: { tenant?: string; content?: string }): Promise<AdapterVersion>;
  /** Leases that are not let go. */
  readonly held: number;
  readonly leases: number;
  readonly releases: number;
  /** Stages that are neither published nor discarded. */
  readonly staged: number;
  readonly corrupt: readonly string[];
  /** What the next stage, and its next write, throw. */
  stageFailure: LorikeetError | null;
  writeFailure: LorikeetError | null;
};

export async function fakeRegistry(): Promise<FakeRegistry> {
  const root = await mkdtemp(join(tmpdir(), 'lorikeet-registry-'));
  const rows: Row[] = [];
  const aliases: (AdapterAlias & { tenant: string })[] = [];
  const versionsMade = new Map<string, number>();
  const corrupt: string[] = [];
  let files = 0;
  let revision = 0;

  const missing = (reference: string) =>
    new LorikeetError('adapter_not_found', { message: `The adapter '${reference}' does not exist.` });
  const versionsOf = (tenant: string, name: string) => {
    const found = rows.filter((row) => row.tenant === tenant && row.name === name).toReversed();
    if (found.length === 0) throw missing(name);
    return found;
  };
  const aliasOf = (tenant: string, name: string, alias: string) =>
    aliases.find((one) => one.tenant === tenant && one.name === name && one.alias === alias);

  function find(tenant: string, reference: string): Row {
    const [, name = '', version, alias] = /^([^@:]*)(?:@(\d+)|:(.+))?$/.exec(reference) ?? [];
    const versions = versionsOf(tenant, name);
    if (alias !== undefined) {
      const target = aliasOf(tenant, name, alias)?.targets[0];
      if (target === undefined) {
        throw new LorikeetError('alias_not_found', { message: `The alias '${reference}' does not exist.` });
      }
      return versions.find((row) => row.version === target.version)!;
    }
    const row = version === undefined ? versions[0] : versions.find((one) => one.version === Number(version));
    if (row === undefined) throw missing(reference);
    return row;
  }

  const publish =
    (folder: string): StagedAdapter['publish'] =>
    async (name, { tenant, createdBy, source }) => {
      if (!/^[A-Za-z0-9][A-Za-z0-9._/-]{0,126}$/.test(name)) {
        throw new LorikeetError('adapter_invalid', { message: `The name '${name}' is not allowed.`, param: 'name' });
      }
      const config = await readFile(join(folder, 'adapter_config.json'));
      const weights = createReadStream(join(folder, 'adapter_model.safetensors'));
      const parsed = parse(config);
      const hash = createHash('sha256').update(config);
      for await (const chunk of weights) hash.update(chunk);
      const digest = `sha256:${hash.digest('hex')}`;
      const bytes = weights.bytesRead;
      const same = rows.find((row) => row.tenant === tenant && row.name === name && row.digest === digest);
      if (same !== undefined) return { adapter: same, created: false };
      const version = (versionsMade.get(`${tenant} ${name}`) ?? 0) + 1;
      versionsMade.set(`${tenant} ${name}`, version);
      const row: Row = {
        ...{ tenant, name, version, digest, createdBy, source, folder, state: 'ready', leases: 0, onFree: [] },
        baseDigest: `sha256:${'a'.repeat(64)}`,
        r: parsed.r,
        targetModules: parsed.target_modules,
        parameters: Math.ceil(bytes / 4),
        bytes,
        createdAt: 1_700_000_000_000 + rows.length * 1000,
        warnings: [],
      };
      rows.push(row);
      return { adapter: row, created: true };
    };

  const uploadPath = (tenant: string, digest: string) =>
    join(root, `upload-${tenant}-${digest.slice('sha256:'.length)}`);
  const uploaded = (tenant: string, digest: string) => readFile(uploadPath(tenant, digest)).catch(() => null);

  const registry: FakeRegistry = {
    held: 0,
    leases: 0,
    releases: 0,
    staged: 0,
    corrupt,
    stageFailure: null,
    writeFailure: null,

    async add(name, { tenant = 'default', content = name } = {}) {
      const staged = await registry.stage();
      const { Readable } = await import('node:stream');
      await staged.config(Buffer.from('{"r":8,"target_modules":["q_proj"]}'));
      await staged.weights(Readable.from([Buffer.from(content)]));
      return (await staged.publish(name, { tenant, createdBy: null, source: 'example' })).adapter;
    },

    async stage() {
      if (registry.stageFailure !== null) throw registry.stageFailure;
      const folder = join(root, String(++files));
      await mkdir(folder);
      count('staged', 1);
      let isOpen = true;
      const close = () => {
        if (isOpen) count('staged', -1);
        isOpen = false;
      };
      const write = async (name: string, bytes: Readable | Uint8Array) => {
        if (registry.writeFailure !== null) throw registry.writeFailure;
        if (bytes instanceof Uint8Array) await writeFile(join(folder, name), bytes);
        else await pipeline(bytes, createWriteStream(join(folder, name)));
      };
      return {
        config: (bytes) => write('adapter_config.json', bytes),
        weights: (bytes) => write('adapter_model.safetensors', bytes),
        async uploadedWeights(tenant, digest) {
          const bytes = await uploaded(tenant, digest);
          if (bytes === null) throw new LorikeetError('upload_not_found');
          await write('adapter_model.safetensors', bytes);
        },
        async publish(name, provenance) {
          const published = await publish(folder)(name, provenance);
          close();
          return published;
        },
        async discard() {
          close();
        },
      };
    },

    async uploadOf(tenant, digest) {
      const bytes = await uploaded(tenant, digest);
      if (bytes !== null) return { digest, offset: bytes.length, complete: true };
      const part = await readFile(`${uploadPath(tenant, digest)}.part`).catch(() => null);
      return part === null ? null : { digest, offset: part.length, complete: false };
    },
    async appendUpload(tenant, digest, { offset, total, bytes }) {
      if (registry.writeFailure !== null) throw registry.writeFailure;
      const path = uploadPath(tenant, digest);
      const there = (await registry.uploadOf(tenant, digest))?.offset ?? 0;
      if (there !== offset) throw new LorikeetError('upload_offset_mismatch', { param: 'upload-offset' });
      for await (const chunk of bytes) await appendFile(`${path}.part`, chunk as Uint8Array);
      const whole = await readFile(`${path}.part`);
      if (whole.length < total) return { digest, offset: whole.length, complete: false };
      if (`sha256:${createHash('sha256').update(whole).digest('hex')}` !== digest) {
        await rm(`${path}.part`);
        throw new LorikeetError('digest_mismatch', { param: 'digest' });
      }
      await rename(`${path}.part`, path);
      return { digest, offset: whole.length, complete: true };
    },

    async list(tenant, { after, limit }) {
      const names = [...new Set(rows.filter((row) => row.tenant === tenant).map(({ name }) => name))].sort();
      const wanted = names.filter((name) => after === null || name > after).slice(0, limit);
      return wanted.map((name) => versionsOf(tenant, name)[0]!);
    },
    versions: async (tenant, name) => versionsOf(tenant, name),
    find: async (tenant, reference) => find(tenant, reference),
    async lease(tenant, reference) {
      const row = find(tenant, reference);
      if (row.state !== 'ready') {
        throw new LorikeetError(row.state === 'corrupt' ? 'adapter_corrupt' : 'adapter_deleting');
      }
      row.leases++;
      count('leases', 1);
      count('held', 1);
      let isHeld = true;
      const release = () => {
        count('releases', 1);
        if (!isHeld) return;
        isHeld = false;
        count('held', -1);
        if (--row.leases === 0) for (const free of row.onFree) free();
      };
      const file = (name: string) => join(row.folder, name);
      const files = { config: file('adapter_config.json'), weights: file('adapter_model.safetensors') };
      return { adapter: row, files: { digest: row.digest, ...files }, release };
    },

    async aliases(tenant, name) {
      versionsOf(tenant, name);
      return aliases.filter((one) => one.tenant === tenant && one.name === name);
    },
    async setAlias(tenant, { name, alias, targets, expected }) {
      for (const { version } of targets) find(tenant, `${name}@${version}`);
      const before = aliasOf(tenant, name, alias);
      if (expected !== null && (before?.revision ?? 0) !== expected) throw new LorikeetError('alias_changed');
      if (before !== undefined) aliases.splice(aliases.indexOf(before), 1);
      const made = { tenant, name, alias, targets, revision: ++revision, updatedAt: 1_700_000_000_000 };
      aliases.push(made);
      return made;
    },
    async deleteAlias(tenant, name, alias, expected) {
      const before = aliasOf(tenant, name, alias);
      if (before === undefined) throw new LorikeetError('alias_not_found');
      if (expected !== null && before.revision !== expected) throw new LorikeetError('alias_changed');
      aliases.splice(aliases.indexOf(before), 1);
    },
    async delete(tenant, name, version) {
      const going = version === null ? versionsOf(tenant, name) : [find(tenant, `${name}@${version}`)];
      for (const row of going) row.state = 'deleting';
      for (const row of going) {
        if (row.leases > 0) await new Promise<void>((free) => row.onFree.push(free));
        rows.splice(rows.indexOf(row), 1);
      }
    },
    async markCorrupt(digest) {
      corrupt.push(digest);
      for (const row of rows) if (row.digest === digest) row.state = 'corrupt';
    },
    close: () => rm(root, { recursive: true, force: true }),
  };

  function count(what: 'held' | 'leases' | 'releases' | 'staged', by: number) {
    (registry as Record<typeof what, number>)[what] += by;
  }
  return registry;
}

function parse(config: Buffer): { r: number; target_modules: string[] } {
  try {
    return JSON.parse(config.toString());
  } catch (cause) {
    throw new LorikeetError('adapter_invalid', { message: 'adapter_config.json is not JSON.', cause });
  }
}
