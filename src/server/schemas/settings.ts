// The answer of /v1/admin/settings.

import { Type } from '@fastify/type-provider-typebox';
import { listOf } from './adapters.ts';

export const Setting = Type.Object({
  id: Type.String({ description: 'The environment variable that sets it.' }),
  object: Type.Literal('setting'),
  value: Type.String({ description: 'As text; a secret is masked, and what the start chose is said in words.' }),
  origin: Type.String({ description: 'A flag, a variable, a file, or `default`.' }),
});
export type Setting = Type.Static<typeof Setting>;

export const SettingList = listOf(Setting);
