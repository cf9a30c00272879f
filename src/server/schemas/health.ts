// The answers of the probes.

import { Type } from '@fastify/type-provider-typebox';

export const Liveness = Type.Object({ status: Type.Literal('ok') });

export const Startup = Type.Object({ status: Type.Enum(['starting', 'started']) });

export const Load = Type.Object({ server_load: Type.Integer({ description: 'On this server, of all tenants.' }) });

export const Readiness = Type.Object({
  status: Type.Enum(['ok', 'degraded', 'unavailable'], {
    description: '`degraded`: requests are taken, and `reasons` has what is missing: changes, or some of the devices.',
  }),
  reasons: Type.Array(Type.String(), { description: 'Why not, as stable words: `draining`, `engine_starting`, ...' }),
  engine: Type.Object({
    state: Type.Enum(['starting', 'ready', 'restarting', 'draining', 'stopped']),
    restarts: Type.Integer(),
    running: Type.Integer(),
    waiting: Type.Integer(),
    processes: Type.Array(
      Type.Object({
        name: Type.String({ description: 'Its device.' }),
        state: Type.Enum(['starting', 'ready', 'restarting']),
        restarts: Type.Integer(),
        running: Type.Integer(),
        waiting: Type.Integer(),
      }),
    ),
  }),
});
export type Readiness = Type.Static<typeof Readiness>;
