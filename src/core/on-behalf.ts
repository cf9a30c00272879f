// In whose name work is done, known wherever it leads: who shares things out by owners asks here, instead of every
// function between a request and a disk passing its tenant on.

import { AsyncLocalStorage } from 'node:async_hooks';

const owners = new AsyncLocalStorage<string>();

/** What the server does by itself, or for many at once. */
export const server = '';

export const onBehalfOf = <T>(owner: string, work: () => T): T => owners.run(owner, work);

export const currentOwner = (): string => owners.getStore() ?? server;
