// The owner on whose behalf asynchronous work runs. Code that shares resources by owner asks here, so that not every
// function between a request and a disk has to pass the tenant on.

import { AsyncLocalStorage } from 'node:async_hooks';

const owners = new AsyncLocalStorage<string>();

/** Owner of work that the server does by itself, or for many owners at once. */
export const server = '';

export const onBehalfOf = <T>(owner: string, work: () => T): T => owners.run(owner, work);

export const currentOwner = (): string => owners.getStore() ?? server;
