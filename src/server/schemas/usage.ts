// The answers of /v1/usage.

import { type Static, Type } from '@fastify/type-provider-typebox';

const seconds = (description: string) =>
  Type.Optional(Type.String({ pattern: '^[0-9]{1,12}$', description: `${description}, seconds since the epoch.` }));

/** Form of a cursor: minute, tenant and adapter of a page's last row. */
const pagePattern = '^[0-9]{1,15} [A-Za-z0-9._-]{1,64} [A-Za-z0-9:+._-]*$';

export const UsageQuery = Type.Object({
  start_time: seconds('From the minute of this time on'),
  end_time: seconds('Up to the minute of this time, which is left out; now and later by default'),
  limit: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,3}$', description: 'Minutes and adapters a page.' })),
  page: Type.Optional(
    Type.String({ maxLength: 4096, pattern: pagePattern, description: '`next_page` of the page before.' }),
  ),
});

export const AdminUsageQuery = Type.Object(
  {
    tenant: Type.Optional(Type.String({ minLength: 1, description: 'Of this tenant only; left out: of all.' })),
    ...UsageQuery.properties,
  },
  { additionalProperties: false },
);

const count = (description: string) => Type.Integer({ minimum: 0, description });

export const Usage = Type.Object({
  object: Type.Literal('usage'),
  tenant: Type.String(),
  start_time: Type.Integer({ description: 'Of the minute, seconds since the epoch.' }),
  adapter_digest: Type.Union([Type.String(), Type.Null()], {
    description: 'Of several that were applied together, joined by `+`; null: the base model, or training.',
  }),
  requests: count('Requests that were answered, or whose callers left.'),
  prompt_tokens: count('Of a prompt once, however many choices it has.'),
  cached_tokens: count('Of the prompt tokens, those that were not computed again.'),
  completion_tokens: count('Tokens generated.'),
  trained_tokens: count('Tokens that training jobs read.'),
});
export type Usage = Static<typeof Usage>;

export const UsageList = Type.Object({
  object: Type.Literal('list'),
  data: Type.Array(Usage),
  has_more: Type.Boolean(),
  next_page: Type.Union([Type.String(), Type.Null()]),
});
