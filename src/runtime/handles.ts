// Addresses by which the library knows the engine's objects, until these are released.

import type { Pointer } from './ort-api.ts';

const handles = new WeakMap<object, Pointer>();

export const setHandle = (owner: object, handle: Pointer): void => void handles.set(owner, handle);
export const forgetHandle = (owner: object): void => void handles.delete(owner);

export function handleOf(owner: object): Pointer {
  const handle = handles.get(owner);
  if (handle === undefined) throw new Error('This runtime object was released or is another runtime’s.');
  return handle;
}
