// Combines quotas to ceilings: the server's default for every tenant, an operator's settings of the tenant, and those
// of the key, which hold beside the tenant's.

import { LorikeetError } from '../core/errors.ts';
import type { KeptField } from '../core/quota-check.ts';
import { type Quota, type QuotaField, quotaFields } from './quota.ts';

/** The caller of a request, as quotas see it. */
export type Caller = {
  readonly tenant: string;
  /** null on a server without keys. */
  readonly keyPrefix: string | null;
  /** Whether nobody waits for the answer: the tenant's other requests go first. */
  readonly isBackground?: boolean;
};

/** The quotas that operators have set; null: none. Asked at every request, so it must not read the database. */
export type QuotaSource = {
  tenant(name: string): Quota | null;
  key(prefix: string): Quota | null;
};

export type Ceilings = {
  tenantOf(caller: Pick<Caller, 'tenant'>): Quota;
  keyOf(caller: Caller): Quota;
};

export function ceilings(defaults: Quota, source: QuotaSource): Ceilings {
  return {
    tenantOf: ({ tenant }) => ({ ...defaults, ...source.tenant(tenant) }),
    keyOf: ({ keyPrefix }) => (keyPrefix === null ? {} : (source.key(keyPrefix) ?? {})),
  };
}

/** Bounds of weights and priorities, which are ratios: beyond them one side would stand still for minutes. */
const ratio = { min: 0.01, max: 100 };
const isRatio = (field: QuotaField) => field === 'weight' || field === 'priority';

/** Parses `requests_per_minute=60,weight=2`. Throws `invalid_config`, which names the setting. */
export function parseQuota(text: string | null, setting: string): Quota {
  const refuse = (why: string) =>
    new LorikeetError('invalid_config', { message: `${setting} ${why}.`, param: setting });
  const quota: { -readonly [Field in QuotaField]?: number } = {};
  for (const part of (text ?? '').split(',').filter((part) => part.trim() !== '')) {
    const [name = '', value = ''] = part.split('=').map((side) => side.trim());
    const field = quotaFields.find((known) => known === name);
    if (field === undefined) throw refuse(`has '${name}'; there are ${quotaFields.join(', ')}`);
    const number = Number(value);
    const isGood = isRatio(field)
      ? number >= ratio.min && number <= ratio.max
      : /^\d{1,15}$/.test(value) && Number.isSafeInteger(number);
    if (!isGood) {
      throw refuse(`: ${field} must be ${isRatio(field) ? `from ${ratio.min} to ${ratio.max}` : 'a whole number'}`);
    }
    quota[field] = number;
  }
  return quota;
}

const keptNames: Readonly<Record<KeptField, string>> = {
  adapters: 'versions of adapters',
  adapter_bytes: "bytes of adapters' weights",
  files: 'files',
  file_bytes: 'bytes of files',
  jobs: 'training jobs that are not over',
  training_tokens: 'tokens of training in 24 hours',
  merges: 'merges',
};

/** Throws `insufficient_quota` where `used` is more than the ceiling allows. */
export function assertKept(quota: Quota, field: KeptField, used: number): void {
  const most = quota[field];
  if (most === undefined || used <= most) return;
  const message = `Your quota is ${most} ${keptNames[field]}; this would make it ${used}.`;
  throw new LorikeetError('insufficient_quota', { message });
}
