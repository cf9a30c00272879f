// What routes say of their bodies beyond what the validator checks: fields that exclude or need each other, forms.

import { type TSchema, Type } from '@fastify/type-provider-typebox';

/** An event of a stream whose data are JSON of this schema, or the end of such a stream. */
export const eventOf = (schema: TSchema) =>
  Type.Object({
    data: Type.Union([
      Type.Literal('[DONE]'),
      Type.String({ contentMediaType: 'application/json', contentSchema: schema }),
    ]),
  });

type Fields = { properties?: Record<string, unknown>; required?: readonly string[] };

/** An operation of OpenAPI, as far as routes change it. */
export type Operation = {
  operationId?: string;
  requestBody?: { required?: boolean; content: Record<string, { schema: Record<string, unknown>; example?: object }> };
};

/** The caller's own JSON: a schema or a file, in which null is a value. */
const opaque = new Set([
  'json_schema',
  'schema',
  'parameters',
  'input_schema',
  'guided_json',
  'json',
  'config',
  'format',
]);

/** @param isTop at the top of a body `parameters` are text-generation-inference's own, and no schema */
export const isOpaque = (key: string, isTop: boolean): boolean => opaque.has(key) && !(isTop && key === 'parameters');

/** What may be left out may be null as well, wherever it stands: clients send null for what was not set. */
export function nullIsAbsent({ requestBody }: Operation): void {
  const json = requestBody?.content['application/json'];
  if (json !== undefined) json.schema = withNulls(json.schema, true);
}

type Schema = Record<string, unknown>;
type Properties = Readonly<Record<string, Schema>>;

/** The same schema with null for every member that need not be there. */
function withNulls(schema: Schema, isTop = false): Schema {
  const required = new Set(schema.required as readonly string[] | undefined);
  const member = (key: string, value: Schema): Schema => {
    const inner = isOpaque(key, isTop) ? value : withNulls(value);
    return required.has(key) ? inner : orNull(inner);
  };
  const membersOf = (properties: Properties) =>
    Object.fromEntries(Object.entries(properties).map(([key, value]) => [key, member(key, value)]));
  const changed = { ...schema };
  for (const key of ['properties', 'patternProperties']) {
    if (isSchema(schema[key])) changed[key] = membersOf(schema[key] as Properties);
  }
  if (isSchema(schema.additionalProperties))
    changed.additionalProperties = orNull(withNulls(schema.additionalProperties));
  if (isSchema(schema.items)) changed.items = withNulls(schema.items);
  for (const key of ['anyOf', 'oneOf', 'allOf']) {
    if (Array.isArray(schema[key])) changed[key] = schema[key].map((one: Schema) => withNulls(one, isTop));
  }
  return changed;
}

const isSchema = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A list of types, where that says it: what makes requests out of descriptions is slow at nested alternatives. */
function orNull(schema: Schema): Schema {
  if (Array.isArray(schema.anyOf)) {
    const takesNull = schema.anyOf.some(({ type }: Schema) => type === 'null');
    return takesNull ? schema : { ...schema, anyOf: [...schema.anyOf, { type: 'null' }] };
  }
  if (typeof schema.type !== 'string' || 'const' in schema) return { anyOf: [schema, { type: 'null' }] };
  const isEnum = Array.isArray(schema.enum);
  return { ...schema, type: [schema.type, 'null'], ...(isEnum ? { enum: [...(schema.enum as []), null] } : {}) };
}

/** These fields have to be there, and to say something. */
export const neededTexts =
  (...fields: readonly string[]) =>
  ({ requestBody }: Operation): void => {
    const schema = requestBody?.content['application/json']?.schema as Fields | undefined;
    if (schema === undefined) return;
    schema.required = fields;
    for (const field of fields) schema.properties![field] = { type: 'string', minLength: 1 };
  };

/** A request without a body is one too. */
export const optionalBody = (operation: Operation): void => {
  if (operation.requestBody !== undefined) operation.requestBody.required = false;
};

/** One of these fields has to be there. */
export const oneOfFields =
  (...fields: readonly string[]) =>
  ({ requestBody }: Operation): void => {
    const schema = requestBody?.content['application/json']?.schema;
    if (schema !== undefined) schema.anyOf = fields.map((field) => ({ required: [field] }));
  };

/** The parts of a form; `binary` ones are files. */
export const formOf =
  (parts: Readonly<Record<string, 'text' | 'binary' | readonly string[]>>) =>
  ({ requestBody }: Operation): void => {
    if (requestBody === undefined) return;
    const schemaOf = (part: (typeof parts)[string]) => {
      if (typeof part !== 'string') return { type: 'string', enum: part };
      return part === 'text' ? { type: 'string', minLength: 1 } : { type: 'string', format: 'binary' };
    };
    requestBody.content['multipart/form-data'] = {
      schema: {
        type: 'object',
        properties: Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, schemaOf(part)])),
        required: Object.keys(parts),
      },
    };
  };
