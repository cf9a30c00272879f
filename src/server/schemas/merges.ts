// The bodies and answers of the routes for merges below /v1/admin.

import { type TSchema, Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';
import { listOf } from './adapters.ts';

const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** A name's `/` is written `%2F` in an address. */
export const MergeParams = Type.Object({ id: Type.String() });

const Part = Type.Object(
  {
    id: Type.String({ minLength: 1, maxLength: limits.adapterReferenceChars }),
    weight: Type.Optional(
      Type.Number({ exclusiveMinimum: 0, maximum: 2, default: 1, description: 'Multiplies what this adapter adds.' }),
    ),
  },
  { additionalProperties: false },
);

export const MergeBody = Type.Object(
  {
    bits: Type.Optional(
      Type.Enum([4, 8, 16, 32], {
        description: "Of the merged linears; left out: each one's own, as the base has it.",
      }),
    ),
    wait: Type.Optional(
      Type.Boolean({
        default: false,
        description: `Answer when it is merged; after ${limits.mergeWaitMs / 1000} s with what it has come to.`,
      }),
    ),
    adapters: Type.Optional(
      Type.Array(Part, {
        minItems: 1,
        maxItems: limits.appliedAdapters,
        description:
          'Several adapters merged into one, each with its weight: all of them, the one of the address among them. ' +
          'It serves requests that apply the same ones with the same scales, in this order.',
      }),
    ),
  },
  { additionalProperties: false },
);
export type MergeBody = Type.Static<typeof MergeBody>;

export const UnmergeQuery = Type.Object(
  {
    merge: Type.Optional(
      Type.String({ description: "A merge's id, for one of several; left out: the adapter's alone." }),
    ),
  },
  { additionalProperties: false },
);

export const Merge = Type.Object({
  id: Type.String({ description: 'Says which weights: the same versions with the same weights have the same id.' }),
  object: Type.Literal('merge'),
  state: Type.Enum(['merging', 'merged', 'draining', 'failed', 'unmerged'], {
    description: '`draining`: sequences still run on it. `unmerged` stands only in the answer to a DELETE.',
  }),
  progress: Type.Number({ description: '0 to 1.' }),
  adapters: Type.Array(
    Type.Object({
      id: Type.String({ description: '`name@version`: what the name or alias meant when it was asked for.' }),
      name: Type.String(),
      version: Type.Integer(),
      digest: Type.String(),
      weight: Type.Number(),
    }),
  ),
  bits: nullable(Type.Integer({ description: 'Of the merged linears; before it is merged, as asked for.' })),
  bytes: nullable(Type.Integer({ description: "Beside the base's; null until it was merged once." })),
  seconds: nullable(Type.Number({ description: 'That merging took.' })),
  share: Type.Number({
    description: `Of the tokens generated in the last ${limits.trafficWindowMs / 1000} s by all tenants, 0 to 1.`,
  }),
  quality: nullable(
    Type.Object(
      {
        positions: Type.Integer(),
        mean_kl: Type.Number({ description: 'Nats.' }),
        max_kl: Type.Number(),
        top1_agreement: Type.Number({ description: 'Share of positions with the same most likely token, 0 to 1.' }),
      },
      { description: 'Merged against unmerged on a few fixed texts: what rounding to so many bits costs.' },
    ),
  ),
  automatic: Type.Boolean({ description: 'By the server itself, which may take it back.' }),
  created_at: Type.Integer({ description: 'Seconds since the epoch.' }),
  created_by: nullable(Type.String({ description: 'Prefix of the key; null without keys, and for an automatic one.' })),
  error: nullable(Type.Object({ code: Type.String(), message: Type.String() })),
});
export type Merge = Type.Static<typeof Merge>;

export const MergeList = Type.Object({
  ...listOf(Merge).properties,
  budget_bytes: Type.Integer({ description: 'LORIKEET_MERGE_MEMORY.' }),
  used_bytes: Type.Integer({ description: "By the caller's merges; tenants who want the same share it." }),
});
export type MergeList = Type.Static<typeof MergeList>;
