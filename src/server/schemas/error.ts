// OpenAI's error object, the body of every refusal.

import { type TSchema, Type } from '@fastify/type-provider-typebox';
import { errorTable } from '../../core/errors.ts';

const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** OpenAI's error object; it always has all four keys. */
export const ErrorBody = Type.Object(
  {
    error: Type.Object({
      message: Type.String(),
      type: Type.String(),
      param: nullable(Type.String({ description: 'The parameter at fault, as a path: `messages[0].content`.' })),
      code: Type.Enum(Object.keys(errorTable)),
    }),
  },
  { description: 'An error. Its `code` is stable.' },
);

/** Answers that any route may give besides its own. */
export const errorAnswers = { '4xx': ErrorBody, '5xx': ErrorBody };
