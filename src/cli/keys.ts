// `lorikeet keys create | list | rotate | revoke`, on the server's database, while the server runs or not.

import { randomUUID } from 'node:crypto';
import { systemClock, systemTimers } from '../core/clock.ts';
import { auditTable } from '../storage/audit-table.ts';
import { makeDataDir } from '../storage/data-dir.ts';
import { isPostgres } from '../storage/database.ts';
import { closeForGood, openOwnDatabase } from '../storage/identity.ts';
import { keyTable } from '../storage/key-table.ts';
import { databaseLocation } from '../storage/location.ts';
import { unsharedChanges } from '../storage/replicas/changes.ts';
import { besideReplicas } from '../storage/replicas/open-replica.ts';
import { type AuditLog, auditLog } from '../tenants/audit.ts';
import { type CreatedKey, type KeyRecord, type KeyStore, keyStore } from '../tenants/keys.ts';
import { defaultTenant, isScope, isTenantName, type Scope, scopes } from '../tenants/scopes.ts';
import { type Command, type ExitCode, exitCodes, type Invocation, UsageError } from './command.ts';
import { date } from './date.ts';
import { wrongVerb } from './verbs.ts';

/** Default scopes of the first key. From then on the server asks every caller for a key, its operator included. */
const ownersScopes: readonly Scope[] = ['generate', 'adapters', 'train'];

export const keysCommand: Command = {
  name: 'keys',
  usage: 'keys create | list | rotate <prefix> | revoke <prefix>',
  summary: 'API keys of this data dir; the first one closes the server to callers without a key',
  options: {
    tenant: { placeholder: 'name', help: `whom the key belongs to (${defaultTenant})` },
    name: { placeholder: 'text', help: 'what the key is for' },
    scopes: {
      placeholder: 'list',
      help: `comma-separated, of ${scopes.join(', ')} (generate; of the first key ${ownersScopes.join(',')})`,
    },
    adapters: { placeholder: 'list', help: 'names of the adapters that it may use, `org/*` for all below (all)' },
    expires: { placeholder: 'days', help: 'days until it is refused (never)' },
    overlap: { placeholder: 'hours', help: 'with rotate: hours that the old key still works (24)' },
  },
  settings: 'server',
  concerns: ['dataDir', 'databaseUrl'],
  positionalsMax: 2,
  async run(invocation) {
    const [verb, prefix] = invocation.positionals;
    const run = verb !== undefined && Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
    if (run === undefined) throw wrongVerb(keysCommand, verb);
    const { config } = invocation.loadConfig();
    makeDataDir(config.dataDir);
    const location = databaseLocation(config.dataDir, config.databaseUrl);
    const database = await openOwnDatabase(config.dataDir, location, { newId: randomUUID, now: systemClock.now });
    try {
      const changes = isPostgres(database) ? besideReplicas(database, systemClock, systemTimers) : unsharedChanges();
      const keys = keyStore(keyTable(database), systemClock, changes);
      const code = await run({ keys, audit: auditLog(auditTable(database), systemClock) }, invocation, prefix);
      if (await keys.any()) closeForGood(config.dataDir);
      return code;
    } finally {
      await database.destroy();
    }
  },
};

type Stores = { readonly keys: KeyStore; readonly audit: AuditLog };
type Verb = (stores: Stores, invocation: Invocation, prefix: string | undefined) => Promise<ExitCode>;

const verbs: Readonly<Record<string, Verb>> = {
  async create(stores, invocation) {
    const { flags } = invocation;
    const isFirst = !(await stores.keys.any());
    const created = await stores.keys.create({
      tenant: readTenant(flags.tenant),
      name: String(flags.name ?? ''),
      scopes: flags.scopes === undefined && isFirst ? ownersScopes : readScopes(flags.scopes),
      adapters: flags.adapters === undefined ? null : String(flags.adapters).split(','),
      expiresAt: flags.expires === undefined ? null : systemClock.now() + readDays(flags.expires) * dayMs,
    });
    await note(stores, 'keys.create', null, created.record);
    return show(invocation, created);
  },

  async list({ keys }, { json, print, printJson }) {
    const records = await keys.list();
    if (json) {
      printJson(records);
      return exitCodes.ok;
    }
    if (records.length === 0) print('No keys. Without any, the server listens on loopback only and asks for none.');
    for (const record of records) print(line(record));
    return exitCodes.ok;
  },

  async rotate(stores, invocation, prefix) {
    if (prefix === undefined) throw new UsageError('Write `lorikeet keys rotate <prefix>`; `keys list` shows them.');
    const hours = readNumber(invocation.flags.overlap ?? '24', 'overlap');
    const before = await stores.keys.find(prefix);
    const created = await stores.keys.rotate(prefix, hours * hourMs, null);
    await note(stores, 'keys.rotate', before, created.record);
    return show(invocation, created);
  },

  async revoke(stores, { json, print, printJson }, prefix) {
    if (prefix === undefined) throw new UsageError('Write `lorikeet keys revoke <prefix>`; `keys list` shows them.');
    const before = await stores.keys.find(prefix);
    const revoked = await stores.keys.revoke(prefix);
    if (revoked && before !== null) await note(stores, 'keys.revoke', before, await stores.keys.find(prefix));
    if (json) printJson({ prefix, revoked });
    else print(revoked ? `${prefix} is revoked.` : `There is no valid key ${prefix}.`);
    const isClosed = revoked && !json && (await stores.keys.list()).every(({ revokedAt }) => revokedAt !== null);
    if (isClosed) print('No key is left, and the server stays closed: `lorikeet keys create` makes another one.');
    return revoked ? exitCodes.ok : exitCodes.failed;
  },
};

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

async function note({ audit }: Stores, action: string, before: KeyRecord | null, after: KeyRecord | null) {
  const { tenant, prefix } = (after ?? before)!;
  const target = before?.prefix ?? prefix;
  await audit.write({ tenant, actor: 'command-line', ip: null, requestId: null, action, target, before, after });
}

function show({ json, print, printJson, io }: Invocation, { key, record }: CreatedKey): ExitCode {
  if (json) {
    printJson({ key, ...record });
    return exitCodes.ok;
  }
  print(key);
  io.stderr.write(
    `Shown once. It may ${record.scopes.join(', ')}, as tenant ${record.tenant}; --scopes chooses. ` +
      'Callers send it as `Authorization: Bearer <key>`, this command line as LORIKEET_API_KEY.\n',
  );
  return exitCodes.ok;
}

function readTenant(flag: unknown): string {
  const name = String(flag ?? defaultTenant);
  if (!isTenantName(name))
    throw new UsageError(`\`${name}\` is no tenant's name: letters, digits, \`.\`, \`_\`, \`-\`.`);
  return name;
}

function readNumber(flag: unknown, name: string): number {
  const number = Number(flag);
  if (!(number >= 0 && number <= 36_500)) throw new UsageError(`--${name} must be a number.`);
  return number;
}

function readDays(flag: unknown): number {
  const days = readNumber(flag, 'expires');
  if (days === 0) throw new UsageError('--expires must be more than 0 days; `keys revoke` ends a key at once.');
  return days;
}

function readScopes(flag: unknown): Scope[] {
  const names = String(flag ?? 'generate').split(',');
  return names.map((name) => {
    if (!isScope(name)) throw new UsageError(`\`${name}\` is no scope; there are ${scopes.join(', ')}.`);
    return name;
  });
}

function line(record: KeyRecord): string {
  const { prefix, tenant, name, scopes: granted, createdAt, lastUsedAt, revokedAt, expiresAt, adapters } = record;
  const used = lastUsedAt === null ? 'never used' : `last used ${date(lastUsedAt)}`;
  const state = revokedAt === null ? used : `revoked ${date(revokedAt)}`;
  const until = expiresAt === null ? '' : `until ${date(expiresAt)}`;
  const only = adapters === null ? '' : `only ${adapters.join(',')}`;
  return [prefix, tenant, granted.join(','), `made ${date(createdAt)}`, state, until, only, name]
    .filter(Boolean)
    .join('  ');
}
