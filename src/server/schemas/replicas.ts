// The answer of /v1/admin/replicas.

import { Type } from '@fastify/type-provider-typebox';
import { listOf } from './adapters.ts';

export const Replica = Type.Object({
  id: Type.String({ description: 'Of its process: another after every start.' }),
  object: Type.Literal('replica'),
  is_this: Type.Boolean({ description: 'Whether it is the one that answers.' }),
  started_at: Type.Integer({ description: "Seconds since the epoch, by the database's clock." }),
  lease_seconds: Type.Union([Type.Number(), Type.Null()], {
    description: 'How long others still wait for it; below 0: they do not. null: there are no others.',
  }),
  changes_behind: Type.Integer({ description: 'Changes that it has not seen.' }),
  deletions_waiting: Type.Integer({ description: 'Changes since a deletion that waits for somebody there.' }),
  status: Type.Record(Type.String(), Type.Unknown(), { description: 'What it last said of itself.' }),
});
export type Replica = Type.Static<typeof Replica>;

export const ReplicaList = listOf(Replica);
export type ReplicaList = Type.Static<typeof ReplicaList>;
