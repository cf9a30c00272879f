// Short messages about what was just done, some with an undo.

import { store } from './store.ts';

export type Toast = { readonly id: number; readonly text: string; readonly undo: (() => void) | null };

const shownMs = 8000;
let last = 0;

export const toasts = store<readonly Toast[]>([]);

export function say(text: string, undo: (() => void) | null = null): void {
  const toast = { id: ++last, text, undo };
  toasts.set([...toasts.get(), toast].slice(-3));
  setTimeout(() => dismiss(toast.id), shownMs);
}

export const dismiss = (id: number): void => toasts.set(toasts.get().filter((toast) => toast.id !== id));
