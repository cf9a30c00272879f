// One piece of work after another. Whatever changes rows or blobs goes through one such queue, so that publishing a
// content and removing the same content never overlap, and memory changes in the order in which the database does.

export type Serially = <T>(work: () => Promise<T>) => Promise<T>;

export function serially(): Serially {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const result = last.then(work);
    last = result.catch(() => {});
    return result;
  };
}
