// Names with `/` in addresses, written as they are: `/v1/models/org/name` is `/v1/models/org%2Fname`. Which part of the
// address is the name follows from what may stand behind it.

const behindAdapter = '(?:/(?:versions(?:/[^/]+(?:/content)?)?|aliases(?:/[^/]+)?|analysis|merged))?';
const addresses = [
  /^(\/v1\/models\/)(.+?)()$/,
  /^(\/v1\/adapters\/)(?!uploads\/)(.+?)(BEHIND)$/,
  /^(\/v1\/admin\/adapters\/)(.+?)(\/merge)$/,
].map((pattern) => new RegExp(pattern.source.replace('BEHIND', behindAdapter)));

/** The address as routes know it. A name whose own last part is a word such as `versions` needs its `%2F`. */
export function withEscapedNames(url: string): string {
  const [path = '', query] = url.split(/(?=\?)/, 2);
  for (const address of addresses) {
    const [, before, name, behind] = address.exec(path) ?? [];
    if (name?.includes('/')) return `${before}${name.replaceAll('/', '%2F')}${behind}${query ?? ''}`;
  }
  return url;
}
