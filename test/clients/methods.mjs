// Which methods of a client's resources were called, so that none is left out of a script without a word.

/** @returns names of the public methods of the resources' classes that were not called yet */
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
