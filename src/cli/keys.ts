// `lorikeet keys create | list | revoke`, on the same database as the server, which may be running.

import { systemClock } from '../core/clock.ts';
import { databasePath, makeDataDir } from '../storage/data-dir.ts';
import { openDatabase } from '../storage/database.ts';
import { keyTable } from '../storage/key-table.ts';
import { type KeyRecord, type KeyStore, keyStore } from '../tenants/keys.ts';
import { defaultTenant, isScope, type Scope, scopes } from '../tenants/scopes.ts';
import { type Command, type ExitCode, exitCodes, type Invocation, UsageError } from './command.ts';

export const keysCommand: Command = {
  name: 'keys',
  usage: 'keys create | list | revoke <prefix>',
  summary: 'API keys of this data dir; the first one closes the server to callers without a key',
  options: {
    tenant: { placeholder: 'name', help: `whom the key belongs to (${defaultTenant})` },
    name: { placeholder: 'text', help: 'what the key is for' },
    scopes: { placeholder: 'list', help: `comma-separated, of ${scopes.join(', ')} (generate)` },
  },
  settings: true,
  positionalsMax: 2,
  async run(invocation) {
    const [verb, prefix] = invocation.positionals;
    const run = verb === undefined ? undefined : verbs[verb];
    if (run === undefined) throw new UsageError('Write `lorikeet keys create`, `keys list` or `keys revoke <prefix>`.');
    const { config } = invocation.loadConfig();
    makeDataDir(config.dataDir);
    const database = await openDatabase(databasePath(config.dataDir, config.databaseUrl));
    try {
      return await run(keyStore(keyTable(database), systemClock), invocation, prefix);
    } finally {
      await database.destroy();
    }
  },
};

type Verb = (keys: KeyStore, invocation: Invocation, prefix: string | undefined) => Promise<ExitCode>;

const verbs: Readonly<Record<string, Verb>> = {
  async create(keys, { flags, json, print, printJson, io }) {
    const { key, record } = await keys.create({
      tenant: String(flags.tenant ?? defaultTenant),
      name: String(flags.name ?? ''),
      scopes: readScopes(flags.scopes),
    });
    if (json) {
      printJson({ key, ...record });
      return exitCodes.ok;
    }
    print(key);
    io.stderr.write('This is shown once. Callers send it as `Authorization: Bearer <key>`.\n');
    return exitCodes.ok;
  },

  async list(keys, { json, print, printJson }) {
    const records = await keys.list();
    if (json) {
      printJson(records);
      return exitCodes.ok;
    }
    if (records.length === 0) print('No keys. Without any, the server listens on loopback only and asks for none.');
    for (const record of records) print(line(record));
    return exitCodes.ok;
  },

  async revoke(keys, { json, print, printJson }, prefix) {
    if (prefix === undefined) throw new UsageError('Write `lorikeet keys revoke <prefix>`; `keys list` shows them.');
    const revoked = await keys.revoke(prefix);
    if (json) printJson({ prefix, revoked });
    else print(revoked ? `${prefix} is revoked.` : `There is no valid key ${prefix}.`);
    return revoked ? exitCodes.ok : exitCodes.failed;
  },
};

function readScopes(flag: unknown): Scope[] {
  const names = String(flag ?? 'generate').split(',');
  return names.map((name) => {
    if (!isScope(name)) throw new UsageError(`\`${name}\` is no scope; there are ${scopes.join(', ')}.`);
    return name;
  });
}

function line({ prefix, tenant, name, scopes: granted, createdAt, lastUsedAt, revokedAt }: KeyRecord): string {
  const used = lastUsedAt === null ? 'never used' : `last used ${date(lastUsedAt)}`;
  const state = revokedAt === null ? used : `revoked ${date(revokedAt)}`;
  return [prefix, tenant, granted.join(','), `made ${date(createdAt)}`, state, name].filter(Boolean).join('  ');
}

const date = (ms: number) => new Date(ms).toISOString().slice(0, 16).replace('T', ' ');
