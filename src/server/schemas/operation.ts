// The bodies and answers of the operator's routes: keys, tenants, the audit log, and lists over all tenants.

import { type TSchema, Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { quotaFields } from '../../tenants/quota.ts';
import { scopes } from '../../tenants/scopes.ts';
import { Adapter, listOf } from './adapters.ts';
import { Job } from './fine-tuning.ts';

const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const seconds = (description: string) => Type.Integer({ description: `${description} Seconds since the epoch.` });
const later = Type.Integer({ minimum: 1, maximum: 253_402_300_799, description: 'Seconds since the epoch.' });

const tenantPattern = '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$';
const tenantName = () => Type.String({ pattern: tenantPattern });
const scopeList = Type.Array(Type.Enum([...scopes]), { minItems: 1, maxItems: scopes.length, uniqueItems: true });
const name = Type.String({ maxLength: 128, description: 'What the key is for.' });
const adapterNames = Type.Array(Type.String({ minLength: 1, maxLength: 127 }), {
  maxItems: limits.keyAdapters,
  description: 'Names that it may use; `org/*` is all that begin so. The base model is open to every key.',
});

const ceiling = (field: string) =>
  field === 'weight'
    ? Type.Number({ exclusiveMinimum: 0, maximum: 1000 })
    : Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const ceilingsOf = (fields: readonly string[], description: string) =>
  Type.Object(Object.fromEntries(fields.map((field) => [field, Type.Optional(ceiling(field))])), {
    additionalProperties: false,
    description,
  });
export const QuotaBody = ceilingsOf(quotaFields, "Ceilings; what is left out has the server's own.");
/** Tokens of training are counted for tenants alone, so a key has no quota of them. */
const KeyQuotaBody = ceilingsOf(
  quotaFields.filter((field) => field !== 'training_tokens'),
  'Ceilings of what this key asks for, runs and keeps, beside its tenant’s.',
);

export const Key = Type.Object({
  id: Type.String({ description: 'The public part of the key.' }),
  object: Type.Literal('key'),
  tenant: Type.String(),
  name: Type.String(),
  scopes: Type.Array(Type.String()),
  adapters: nullable(Type.Array(Type.String())),
  quota: nullable(QuotaBody),
  created_at: seconds(''),
  created_by: nullable(Type.String({ description: 'The key that made it; null: the command line.' })),
  expires_at: nullable(seconds('')),
  revoked_at: nullable(seconds('')),
  last_used_at: nullable(seconds('To the minute.')),
  last_ip: nullable(Type.String()),
  replaced_by: nullable(Type.String({ description: 'The key that it was rotated to.' })),
});
export type Key = Type.Static<typeof Key>;

export const NewKey = Type.Object({
  ...Key.properties,
  key: Type.String({ description: 'The key itself, shown this once and kept nowhere.' }),
});

export type NewKey = Type.Static<typeof NewKey>;

export const KeyBody = Type.Object(
  {
    tenant: tenantName(),
    scopes: scopeList,
    name: Type.Optional(name),
    adapters: Type.Optional(adapterNames),
    quota: Type.Optional(KeyQuotaBody),
    expires_at: Type.Optional(later),
  },
  { additionalProperties: false },
);
export type KeyBody = Type.Static<typeof KeyBody>;

export const KeyPatch = Type.Object(
  {
    scopes: Type.Optional(scopeList),
    name: Type.Optional(name),
    adapters: Type.Optional(adapterNames),
    quota: Type.Optional(KeyQuotaBody),
    expires_at: Type.Optional(later),
    unset: Type.Optional(
      Type.Array(Type.Enum(['adapters', 'quota', 'expires_at']), {
        maxItems: 3,
        uniqueItems: true,
        description: 'Fields to take away: all adapters, its tenant’s quota, no end.',
      }),
    ),
  },
  { additionalProperties: false },
);
export type KeyPatch = Type.Static<typeof KeyPatch>;

export const RotateBody = Type.Object(
  {
    overlap_seconds: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 30 * 24 * 3600,
        default: 24 * 3600,
        description: 'How long the old key still works.',
      }),
    ),
  },
  { additionalProperties: false },
);

const pageLimit = Type.String({ pattern: '^[1-9][0-9]{0,2}$', description: `1 to ${limits.listPage}.` });
const number = (description: string) => Type.String({ pattern: '^[0-9]{1,12}$', description });

export const KeyParams = Type.Object({ prefix: Type.String({ pattern: '^[0-9a-f]{12}$' }) });
export const KeyQuery = Type.Object(
  {
    tenant: Type.Optional(tenantName()),
    after: Type.Optional(Type.String({ description: 'The last id of the page before.' })),
    limit: Type.Optional(pageLimit),
  },
  { additionalProperties: false },
);
export const KeyList = listOf(Key);

export const Tenant = Type.Object({
  id: Type.String(),
  object: Type.Literal('tenant'),
  created_at: nullable(seconds('Of what was decided of it; null: nothing yet.')),
  disabled_at: nullable(seconds('Its keys are refused from then on.')),
  quota: nullable(QuotaBody),
});
export type Tenant = Type.Static<typeof Tenant>;
export const TenantList = listOf(Tenant);
export const TenantParams = Type.Object({ tenant: tenantName() });
export const TenantBody = Type.Object(
  {
    disabled: Type.Optional(Type.Boolean()),
    quota: Type.Optional(QuotaBody),
    unset: Type.Optional(Type.Array(Type.Enum(['quota']), { maxItems: 1 })),
  },
  { additionalProperties: false },
);

export const AuditQuery = Type.Object(
  {
    tenant: Type.Optional(Type.String()),
    actor: Type.Optional(Type.String({ description: 'A key’s id, `admin`, `anonymous`, `command-line` or `policy`.' })),
    action: Type.Optional(Type.String({ description: '`keys.create`, `aliases.set`, ...' })),
    since: Type.Optional(number('Seconds since the epoch.')),
    until: Type.Optional(number('Seconds since the epoch.')),
    after: Type.Optional(number('The last id of the page before.')),
    limit: Type.Optional(pageLimit),
  },
  { additionalProperties: false },
);
export const AuditEntry = Type.Object({
  id: Type.String(),
  object: Type.Literal('audit_entry'),
  at: Type.Number({ description: 'Seconds since the epoch, with milliseconds.' }),
  tenant: Type.String(),
  actor: Type.String(),
  ip: nullable(Type.String()),
  request_id: nullable(Type.String()),
  action: Type.String(),
  target: Type.String(),
  before: Type.Unknown(),
  after: Type.Unknown(),
});
export type AuditEntry = Type.Static<typeof AuditEntry>;
export const AuditList = listOf(AuditEntry);

/** Query of lists over all tenants. */
export const AllQuery = Type.Object(
  {
    tenant: Type.Optional(Type.String({ description: 'Of this tenant only.' })),
    after: Type.Optional(Type.String({ description: 'The last id of the page before.' })),
    limit: Type.Optional(pageLimit),
  },
  { additionalProperties: false },
);
export const TenantAdapterList = listOf(Type.Object({ ...Adapter.properties, tenant: Type.String() }));
export const TenantJobList = listOf(Job);
