// Every change of the schema, in order. One that was released is never edited; a new one is added.

import type { Migration } from 'kysely';
import * as keys from './0001-keys.ts';

export const migrations: Record<string, Migration> = { '0001-keys': keys };
