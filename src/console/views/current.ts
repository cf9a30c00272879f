// The view that the address names. Each view's module is loaded when it is first shown.

import { type ComponentType, h } from 'preact';
import { useEffect } from 'preact/hooks';
import { lazy } from '../parts/lazy.ts';
import { Empty } from '../parts/notes.ts';
import { route } from '../state/route.ts';
import { useStore } from '../state/store.ts';
import type { ViewProps } from './view.ts';

const view = (load: () => Promise<ComponentType<ViewProps>>) => lazy('the view', load);

const views: Readonly<Record<string, ComponentType<ViewProps>>> = {
  adapters: view(async () => (await import('./adapters.ts')).AdaptersView),
  playground: view(async () => (await import('./playground.ts')).PlaygroundView),
  training: view(async () => (await import('./training.ts')).TrainingView),
  traffic: view(async () => (await import('./traffic.ts')).TrafficView),
  usage: view(async () => (await import('./operator/usage.ts')).UsageView),
  keys: view(async () => (await import('./operator/keys.ts')).KeysView),
  tenants: view(async () => (await import('./operator/tenants.ts')).TenantsView),
  replicas: view(async () => (await import('./operator/replicas.ts')).ReplicasView),
  settings: view(async () => (await import('./operator/settings.ts')).SettingsView),
  audit: view(async () => (await import('./operator/audit.ts')).AuditView),
};

export function CurrentView() {
  const at = useStore(route);
  const name = at.parts[0] ?? 'adapters';
  // Another view begins at its top.
  useEffect(() => scrollTo(0, 0), [name]);
  if (!Object.hasOwn(views, name)) return h(Empty, { icon: 'search', title: 'There is no such view' });
  return h(views[name]!, { key: name, route: at });
}
