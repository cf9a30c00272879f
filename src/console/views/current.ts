// The view that the address names. Each is fetched when it is first gone to.

import { type ComponentType, h } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Empty, Loading } from '../parts/notes.ts';
import { type Route, route } from '../state/route.ts';
import { useStore } from '../state/store.ts';

export type ViewProps = { readonly route: Route };
type View = ComponentType<ViewProps>;

const views: Readonly<Record<string, () => Promise<View>>> = {
  adapters: async () => (await import('./adapters.ts')).AdaptersView,
  playground: async () => (await import('./playground.ts')).PlaygroundView,
  training: async () => (await import('./training.ts')).TrainingView,
  traffic: async () => (await import('./traffic.ts')).TrafficView,
};

const known = new Map<string, View>();

export function CurrentView() {
  const at = useStore(route);
  const name = at.parts[0] ?? 'adapters';
  const [, setRound] = useState(0);
  useEffect(() => {
    scrollTo(0, 0);
    if (known.has(name) || !Object.hasOwn(views, name)) return;
    void views[name]!().then((view) => {
      known.set(name, view);
      setRound((round) => round + 1);
    });
  }, [name]);
  if (!Object.hasOwn(views, name)) return h(Empty, { icon: 'search', title: 'There is no such view' });
  const view = known.get(name);
  return view === undefined ? h(Loading, { what: 'the view' }) : h(view, { route: at });
}
