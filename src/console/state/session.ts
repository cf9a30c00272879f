// The key of this tab, in sessionStorage alone: no other tab has it, and it is gone when the tab closes.

import { store } from './store.ts';

export type Session = {
  readonly key: string | null;
  /** Whether the server refused a request for want of a valid key. */
  readonly asksForKey: boolean;
  /** Whether the tab had a key then, which is revoked or was never valid. */
  readonly wasRefused: boolean;
};

const slot = 'lorikeet-key';

export const session = store<Session>({ key: sessionStorage.getItem(slot), asksForKey: false, wasRefused: false });

export function takeKey(key: string): void {
  sessionStorage.setItem(slot, key);
  session.set({ key, asksForKey: false, wasRefused: false });
}

/**
 * Forgets a key that was refused.
 * @param used the request's key; the refusal of an older key says nothing of the current one
 */
export function keyRefused(used: string | null): void {
  const { key } = session.get();
  if (used !== key) return;
  sessionStorage.removeItem(slot);
  session.set({ key: null, asksForKey: true, wasRefused: key !== null });
}

export function forgetKey(): void {
  sessionStorage.removeItem(slot);
  session.set({ key: null, asksForKey: true, wasRefused: false });
}
