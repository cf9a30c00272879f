// The frame around every view: navigation, the base model that serves, the key in use.

import { h } from 'preact';
import { useEffect } from 'preact/hooks';
import { Navigation } from './navigation.ts';
import { lazy } from './parts/lazy.ts';
import { Toaster } from './parts/toaster.ts';
import { baseModel, readBaseModel, watchReadiness } from './state/server.ts';
import { session } from './state/session.ts';
import { useStore } from './state/store.ts';
import { CurrentView } from './views/current.ts';

const SignIn = lazy<object>('the question for a key', async () => (await import('./sign-in.ts')).SignIn);

export function App() {
  const { key, asksForKey } = useStore(session);
  useEffect(watchReadiness, []);
  // Read again for every key, since another key may see more.
  useEffect(() => {
    if (asksForKey) return;
    // A key without the scope `generate` may still be valid; each view shows what the key may not do.
    readBaseModel().catch(() => baseModel.set(null));
  }, [key, asksForKey]);
  if (asksForKey) return h(SignIn, {});
  const skip = (event: Event) => {
    event.preventDefault();
    document.getElementById('view')?.focus();
  };
  return h(
    'div',
    { class: 'frame' },
    h('a', { class: 'skip', href: '#view', onClick: skip }, 'Skip to the view'),
    h(Navigation, null),
    h('main', { id: 'view', tabIndex: -1 }, h(CurrentView, { key: key ?? '' })),
    h(Toaster, null),
  );
}
