// Fields that ask for the form of an output, by OpenAI's and by vLLM's names.

import { Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';

const schema = Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.String(), Type.Boolean()], {
  title: 'a JSON schema, as an object or as text',
});
const text = Type.String({ minLength: 1, maxLength: limits.grammarChars });
const choices = Type.Array(Type.String({ minLength: 1 }), { minItems: 1, maxItems: limits.grammarChoices });

export const ResponseFormat = Type.Object(
  {
    type: Type.Enum(['text', 'json_object', 'json_schema']),
    schema: Type.Optional(
      Type.Union([schema, Type.Null()], {
        title: 'a JSON schema, as an object or as text',
        description: 'As llama.cpp, Fireworks and Together have it: of `json_object`, or of `json_schema` left out.',
      }),
    ),
    json_schema: Type.Optional(
      Type.Object(
        {
          name: Type.Optional(Type.String()),
          description: Type.Optional(Type.Union([Type.String(), Type.Null()])),
          schema: Type.Optional(Type.Union([schema, Type.Null()])),
          strict: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
        },
        { additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false, description: 'The output is JSON, or JSON that a schema allows.' },
);

/** Forms of an output, of which a body may have one, and none beside `response_format`. */
const forms = {
  json: Type.Optional(schema),
  regex: Type.Optional(text),
  choice: Type.Optional(choices),
  grammar: Type.Optional(text),
  json_object: Type.Optional(Type.Boolean()),
};

export const structuredProperties = {
  response_format: Type.Optional(ResponseFormat),
  structured_outputs: Type.Optional(
    Type.Object(
      {
        ...forms,
        disable_any_whitespace: Type.Optional(Type.Boolean({ description: 'JSON without spaces and line breaks.' })),
      },
      {
        additionalProperties: false,
        description: 'One of `json` (a schema), `regex`, `choice`, `grammar` (Lark, or `root ::= ...`), `json_object`.',
      },
    ),
  ),
  guided_json: forms.json,
  guided_regex: forms.regex,
  guided_choice: forms.choice,
  guided_grammar: forms.grammar,
};

export const StructuredBody = Type.Object(structuredProperties);
export type StructuredBody = Type.Static<typeof StructuredBody>;
