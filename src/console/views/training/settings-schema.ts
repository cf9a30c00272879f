// Reads the settings of a training from /openapi.json: their names, their meaning, and what 'auto' chooses.

type Schema = {
  readonly description?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly (string | null)[];
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
};

export type Setting = {
  readonly name: string;
  readonly description: string;
  readonly kind: 'number' | 'choice' | 'text';
  readonly choices: readonly string[];
};

/** Settings that are shown at once; the others are folded. */
const first = ['n_epochs', 'max_steps', 'batch_size', 'learning_rate', 'r', 'alpha', 'target_modules', 'schedule'];
export const isFirst = ({ name }: Setting): boolean => first.includes(name);

export async function readSettings(signal: AbortSignal): Promise<Setting[]> {
  const document = (await (await fetch('/openapi.json', { signal })).json()) as {
    paths: Record<string, { post: { requestBody: { content: Record<string, { schema: Schema }> } } }>;
  };
  const body = document.paths['/v1/fine_tuning/jobs']!.post.requestBody.content['application/json']!.schema;
  const supervised = propertiesOf(propertiesOf(body).method).supervised;
  const all = Object.entries(propertiesOf(propertiesOf(supervised).hyperparameters)).map(toSetting);
  return all.sort((a, b) => Number(isFirst(b)) - Number(isFirst(a)));
}

/** The properties of an object's schema, also of one that may be null. */
function propertiesOf(schema: Schema | undefined): Readonly<Record<string, Schema>> {
  return [schema, ...(schema?.anyOf ?? [])].find((one) => one?.properties !== undefined)?.properties ?? {};
}

function toSetting([name, { description = '', type, anyOf = [] }]: [string, Schema]): Setting {
  const types = [type, ...anyOf.map((one) => one.type)].flat();
  const words = anyOf
    .flatMap((one) => one.enum ?? [])
    .filter((word): word is string => word !== null && word !== 'auto');
  if (types.includes('boolean')) return { name, description, kind: 'choice', choices: ['true', 'false'] };
  if (types.includes('array')) return { name, description, kind: 'text', choices: words };
  if (words.length > 0) return { name, description, kind: 'choice', choices: words };
  const isNumber = types.includes('number') || types.includes('integer');
  return { name, description, kind: isNumber ? 'number' : 'text', choices: [] };
}

/** The settings that were typed. Empty fields are left to the server. */
export function hyperparametersOf(settings: readonly Setting[], typed: Readonly<Record<string, string>>) {
  const entries = settings.flatMap(({ name, kind }) => {
    const text = typed[name]?.trim() ?? '';
    return text === '' ? [] : [[name, typedValue(text, kind)] as const];
  });
  return Object.fromEntries(entries);
}

function typedValue(text: string, kind: Setting['kind']): unknown {
  if (text === 'true' || text === 'false') return text === 'true';
  if (kind === 'number') return Number(text);
  if (text.startsWith('{')) return JSON.parse(text);
  return text.includes('_') ? text.split(/[\s,]+/).filter(Boolean) : text;
}
