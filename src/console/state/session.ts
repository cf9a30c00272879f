// The key of this tab. It is kept in sessionStorage alone: another tab, or this one after it is closed, has none.

import { store } from './store.ts';

export type Session = {
  readonly key: string | null;
  /** A request was refused for want of a key that the server takes. */
  readonly asksForKey: boolean;
  /** The key that was in use when that happened was refused: revoked, or never right. */
  readonly wasRefused: boolean;
};

const slot = 'lorikeet-key';

export const session = store<Session>({ key: sessionStorage.getItem(slot), asksForKey: false, wasRefused: false });

export function takeKey(key: string): void {
  sessionStorage.setItem(slot, key);
  session.set({ key, asksForKey: false, wasRefused: false });
}

/** @param used a refusal of an older key says nothing of the one in use now */
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
