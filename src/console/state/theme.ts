// The theme: light, dark, or the system's.

import { store } from './store.ts';

const themes = ['system', 'light', 'dark'] as const;
export type Theme = (typeof themes)[number];

const slot = 'lorikeet-theme';
const kept = localStorage.getItem(slot) as Theme | null;

export const theme = store<Theme>(kept !== null && themes.includes(kept) ? kept : 'system');

export function applyTheme(): void {
  document.documentElement.dataset.theme = theme.get();
}

export function nextTheme(): void {
  theme.set(themes[(themes.indexOf(theme.get()) + 1) % themes.length]!);
  localStorage.setItem(slot, theme.get());
  applyTheme();
}
