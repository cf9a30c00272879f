// Every change of the schema, in order. One that was released is never edited; a new one is added at the end.

import type { Kysely } from 'kysely';
import { addKeys } from './0001-keys.ts';
import { addAdapters } from './0002-adapters.ts';
import { addMerges } from './0003-merges.ts';
import { addTraining } from './0004-training.ts';
import { addService } from './0006-service.ts';

/** Written against no table types: those follow later changes, and a migration must not. */
type Migration = (db: Kysely<unknown>) => Promise<void>;

export const migrations: readonly Migration[] = [addKeys, addAdapters, addMerges, addTraining, addService];
