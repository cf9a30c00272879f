// The bodies and answers of an adapter's aliases.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { listOf } from './adapters.ts';

export const AliasParams = Type.Object({ name: Type.String(), alias: Type.String() });

const version = Type.Integer({ minimum: 1, maximum: 999_999_999 });
const weight = Type.Number({ exclusiveMinimum: 0, maximum: 1_000_000 });
const Target = Type.Object({ version, weight }, { additionalProperties: false });

/** What an alias points to: one version, or several that share the requests by weight. */
export const AliasBody = Type.Object(
  {
    version: Type.Optional(version),
    weights: Type.Optional(
      Type.Record(Type.String({ pattern: '^[1-9][0-9]{0,8}$' }), weight, {
        minProperties: 1,
        maxProperties: limits.aliasTargets,
        additionalProperties: false,
        description: 'Version to weight: `{"2": 0.1, "1": 0.9}` sends a tenth of the requests to version 2.',
      }),
    ),
    targets: Type.Optional(Type.Array(Target, { minItems: 1, maxItems: limits.aliasTargets })),
  },
  { additionalProperties: false },
);
export type AliasBody = Type.Static<typeof AliasBody>;

export const Alias = Type.Object({
  id: Type.String({ description: '`name:alias`, which may be asked for as it stands.' }),
  object: Type.Literal('adapter.alias'),
  name: Type.String(),
  alias: Type.String(),
  targets: Type.Array(Target),
  revision: Type.Integer({ description: 'Raised by every change; the ETag is made of it.' }),
  updated_at: Type.Integer({ description: 'Seconds since the epoch.' }),
});
export type Alias = Type.Static<typeof Alias>;

export const AliasList = listOf(Alias);
