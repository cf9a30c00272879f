// The browser's own modal dialog, which keeps the focus inside and closes on Escape.

import { type ComponentChildren, h } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import { Button } from './button.ts';

type Props = {
  readonly title: string;
  readonly isWide?: boolean;
  readonly onClose: () => void;
  readonly children?: ComponentChildren;
};

export function Dialog({ title, isWide, onClose, children }: Props) {
  const box = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    box.current?.showModal();
    return () => before?.focus();
  }, []);
  return h(
    'dialog',
    { ref: box, class: isWide ? 'wide' : '', 'aria-labelledby': id, onClose },
    h(
      'header',
      null,
      h('h2', { id }, title),
      h(Button, { kind: 'quiet', icon: 'close', label: 'Close', onClick: () => box.current?.close() }),
    ),
    children,
  );
}

type ConfirmProps = {
  readonly title: string;
  readonly word: string;
  readonly isBusy?: boolean;
  readonly onConfirm: () => void;
  readonly onClose: () => void;
  readonly children?: ComponentChildren;
};

/** A dialog that asks before something that cannot be undone. */
export const Confirm = ({ title, word, isBusy = false, onConfirm, onClose, children }: ConfirmProps) =>
  h(
    Dialog,
    { title, onClose },
    h('div', { class: 'stack' }, children),
    h(
      'footer',
      null,
      h(Button, { onClick: onClose }, 'Keep it'),
      h(Button, { kind: 'danger', isBusy, onClick: onConfirm }, word),
    ),
  );
