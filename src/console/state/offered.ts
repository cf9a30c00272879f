// Finds which of the operators' views this server has routes for.

import { useEffect } from 'preact/hooks';
import { places } from '../views/places.ts';
import { store, useStore } from './store.ts';

const offered = store<ReadonlySet<string>>(new Set());
let isAsked = false;

/** Reads the routes from /openapi.json, which lists all and needs no key. */
async function readRoutes(): Promise<void> {
  const answer = await fetch('/openapi.json');
  const { paths } = (await answer.json()) as { paths: Record<string, unknown> };
  const there = places.filter(({ needs }) => needs !== undefined && Object.hasOwn(paths, needs));
  offered.set(new Set(there.map(({ name }) => name)));
}

export function useOperatorViews(): ReadonlySet<string> {
  useEffect(() => {
    if (isAsked || places.every(({ needs }) => needs === undefined)) return;
    isAsked = true;
    readRoutes().catch(() => {
      isAsked = false;
    });
  }, []);
  return useStore(offered);
}
