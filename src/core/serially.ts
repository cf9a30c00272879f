// One piece of work after another, for what must not overlap: changes of the registry, commands to a device.

export type Serially = <T>(work: () => Promise<T>) => Promise<T>;

export function serially(): Serially {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = last.then(work);
    last = result.catch(() => {});
    return result;
  };
}
