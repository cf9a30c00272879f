// What routes say of their bodies beyond what the validator checks: fields that exclude or need each other, forms.

import type { Operation } from '../plugins/docs.ts';

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
