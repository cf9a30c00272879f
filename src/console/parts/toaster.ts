// Shows the messages of state/toasts.ts at the edge of the page.

import { h } from 'preact';
import { useStore } from '../state/store.ts';
import { dismiss, toasts } from '../state/toasts.ts';
import { Button } from './button.ts';

export function Toaster() {
  const shown = useStore(toasts);
  return h(
    'div',
    { class: 'toasts', role: 'status', 'aria-live': 'polite' },
    shown.map(({ id, text, undo }) =>
      h(
        'div',
        { key: id, class: 'toast' },
        h('span', null, text),
        undo &&
          h(
            Button,
            {
              isSmall: true,
              kind: 'quiet',
              onClick: () => {
                dismiss(id);
                undo();
              },
            },
            'Undo',
          ),
        h(Button, { isSmall: true, kind: 'quiet', icon: 'close', label: 'Dismiss', onClick: () => dismiss(id) }),
      ),
    ),
  );
}
