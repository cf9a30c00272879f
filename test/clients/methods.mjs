// Records which methods of a client's resources were called, so that a script cannot silently leave one out.

/** @returns the set of names of the resources' public methods that were not called yet */
export function watchMethods(resources) {
  const uncalled = new Set();
  for (const [path, resource] of Object.entries(resources)) {
    const prototype = Object.getPrototypeOf(resource);
    for (const name of Object.getOwnPropertyNames(prototype)) {
      const method = prototype[name];
      if (name === 'constructor' || name.startsWith('_') || typeof method !== 'function') continue;
      uncalled.add(`${path}.${name}`);
      prototype[name] = function (...args) {
        uncalled.delete(`${path}.${name}`);
        return method.apply(this, args);
      };
    }
  }
  return uncalled;
}
