// Every change of the schema, in order. A released migration is never edited; a new one is added at the end and only
// adds to the schema, since servers of the version before run on beside it. One that does more raises `oldestReader` to
// its own number.

import type { Kysely } from 'kysely';
import { addKeys } from './0001-keys.ts';
import { addAdapters } from './0002-adapters.ts';
import { addMerges } from './0003-merges.ts';
import { addTraining } from './0004-training.ts';
import { addOperation } from './0005-operation.ts';
import { addService } from './0006-service.ts';
import { addUsageByMinute } from './0007-usage-by-minute.ts';
import { addAdaptersNotReady } from './0008-adapters-not-ready.ts';
import { addBatches } from './0009-batches.ts';
import { addReplicas } from './0010-replicas.ts';
import { addSharedQuotas } from './0011-shared-quotas.ts';
import { addVirtualTokens } from './0012-virtual-tokens.ts';
import { addAdapterTemplates } from './0013-adapter-templates.ts';

/** A migration. It uses no table types, because these follow later changes and a migration must not. */
type Migration = (db: Kysely<unknown>) => Promise<void>;

export const migrations: readonly Migration[] = [
  addKeys,
  addAdapters,
  addMerges,
  addTraining,
  addOperation,
  addService,
  addUsageByMinute,
  addAdaptersNotReady,
  addBatches,
  addReplicas,
  addSharedQuotas,
  addVirtualTokens,
  addAdapterTemplates,
];

/** The number of migrations that a server has to know to work with the schema after the last one. */
export const oldestReader = 6;
