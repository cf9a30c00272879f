// Completes the OpenAPI description with what the validator does not check: fields that exclude or need each other,
// forms.

import { type TSchema, Type } from '@fastify/type-provider-typebox';

/** An event of a stream: JSON of this schema as text, or the end of the stream. */
export const eventOf = (schema: TSchema) =>
  Type.Object({
    data: Type.Union([
      Type.Literal('[DONE]'),
      Type.String({ contentMediaType: 'application/json', contentSchema: schema }),
    ]),
  });

type Fields = { properties?: Record<string, unknown>; required?: readonly string[] };

/** An OpenAPI operation, as far as these functions change it. */
export type Operation = {
  operationId?: string;
  requestBody?: { required?: boolean; content: Record<string, { schema: Record<string, unknown>; example?: object }> };
};

/** Members that hold JSON of the caller's, such as a schema, in which null is a value. */
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

/**
 * Whether null is a value inside of this member.
 * @param isTop at the top of a body `parameters` are text-generation-inference's, and no schema
 */
export const isOpaque = (key: string, isTop: boolean): boolean => opaque.has(key) && !(isTop && key === 'parameters');

/** Allows null for every optional member of a body, at every depth: clients send null for what is not set. */
export function nullIsAbsent({ requestBody }: Operation): void {
  const json = requestBody?.content['application/json'];
  if (json !== undefined) json.schema = withNulls(json.schema, true);
}

type Schema = Record<string, unknown>;
type Properties = Readonly<Record<string, Schema>>;

/** The schema with null for every member that is not required. */
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

/**
 * The schema or null. It prefers a list of types to `anyOf`, since tools that generate requests are slow at nested
 * alternatives.
 */
function orNull(schema: Schema): Schema {
  if (Array.isArray(schema.anyOf)) {
    const takesNull = schema.anyOf.some(({ type }: Schema) => type === 'null');
    return takesNull ? schema : { ...schema, anyOf: [...schema.anyOf, { type: 'null' }] };
  }
  if (typeof schema.type !== 'string' || 'const' in schema) return { anyOf: [schema, { type: 'null' }] };
  const isEnum = Array.isArray(schema.enum);
  return { ...schema, type: [schema.type, 'null'], ...(isEnum ? { enum: [...(schema.enum as []), null] } : {}) };
}

/** Makes an operation whose body must have these fields, as texts that are not empty. */
export const neededTexts =
  (...fields: readonly string[]) =>
  ({ requestBody }: Operation): void => {
    const schema = requestBody?.content['application/json']?.schema as Fields | undefined;
    if (schema === undefined) return;
    schema.required = fields;
    for (const field of fields) schema.properties![field] = { type: 'string', minLength: 1 };
  };

/** Makes the body optional. */
export const optionalBody = (operation: Operation): void => {
  if (operation.requestBody !== undefined) operation.requestBody.required = false;
};

/** Makes an operation whose body must have one of these fields. */
export const oneOfFields =
  (...fields: readonly string[]) =>
  ({ requestBody }: Operation): void => {
    const schema = requestBody?.content['application/json']?.schema;
    if (schema !== undefined) schema.anyOf = fields.map((field) => ({ required: [field] }));
  };

/** Makes an operation with a form of these parts; `binary` parts are files. */
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
