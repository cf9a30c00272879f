// Lets names with `/` stand unescaped in addresses: `/v1/models/org/name` becomes `/v1/models/org%2Fname`. What may
// follow the name decides where the name ends.

const behindAdapter = '(?:/(?:versions(?:/[^/]+(?:/content)?)?|aliases(?:/[^/]+)?|analysis|merged))?';
const addresses = [
  /^(\/v1\/models\/)(.+?)()$/,
  /^(\/v1\/adapters\/)(?!uploads\/)(.+?)(BEHIND)$/,
  /^(\/v1\/admin\/adapters\/)(.+?)(\/merge)$/,
].map((pattern) => new RegExp(pattern.source.replace('BEHIND', behindAdapter)));

/**
 * The address with its name escaped. A name whose last part is a word such as `versions` must be escaped by the caller.
 */
export function withEscapedNames(url: string): string {
  const [path = '', query] = url.split(/(?=\?)/, 2);
  for (const address of addresses) {
    const [, before, name, behind] = address.exec(path) ?? [];
    if (name?.includes('/')) return `${before}${name.replaceAll('/', '%2F')}${behind}${query ?? ''}`;
  }
  return url;
}
