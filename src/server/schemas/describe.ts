// What routes say of their bodies beyond what the validator checks: fields that exclude or need each other, forms.

/** An operation of OpenAPI, as far as routes change it. */
export type Operation = {
  requestBody?: { required?: boolean; content: Record<string, { schema: Record<string, unknown> }> };
};

/** What may be left out may be null as well: clients send null for what was not set. */
export function nullIsAbsent({ requestBody }: Operation): void {
  const schema = requestBody?.content['application/json']?.schema as Fields | undefined;
  for (const [name, property] of Object.entries(schema?.properties ?? {})) {
    if (schema?.required?.includes(name)) continue;
    schema!.properties![name] = { anyOf: [property, { type: 'null' }] };
  }
}

type Fields = { properties?: Record<string, unknown>; required?: readonly string[] };

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
