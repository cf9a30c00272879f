// Random JSON schemas whose instances are finite: features that llguidance supports, with bounds on everything that
// could go on.

import fc from 'fast-check';

export type JsonSchema = Readonly<Record<string, unknown>>;

const word = fc.stringMatching(/^[a-z]{1,6}$/);

const leaf: fc.Arbitrary<JsonSchema> = fc.oneof(
  fc.constant({ type: 'boolean' }),
  fc.constant({ type: 'null' }),
  fc.tuple(fc.integer({ min: -50, max: 50 }), fc.nat({ max: 90 })).map(([minimum, span]) => {
    return { type: 'integer', minimum, maximum: minimum + span };
  }),
  fc.tuple(fc.nat({ max: 3 }), fc.nat({ max: 5 })).map(([minLength, more]) => {
    return { type: 'string', minLength, maxLength: minLength + more };
  }),
  fc
    .constantFrom('^[A-F]{2}-\\d{1,3}$', '^(yes|no|maybe)$', '^\\w{3}$')
    .map((pattern) => ({ type: 'string', pattern })),
  fc.constantFrom('date', 'time', 'ipv4', 'uuid').map((format) => ({ type: 'string', format })),
  fc
    .uniqueArray(fc.oneof(word, fc.integer(), fc.boolean(), fc.constant(null)), { minLength: 1, maxLength: 4 })
    .map((values) => ({ enum: values })),
  fc.record({ a: word, b: fc.array(fc.integer(), { maxLength: 2 }) }).map((value) => ({ const: value })),
);

const { schema } = fc.letrec<{ schema: JsonSchema }>((tie) => ({
  schema: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    fc.tuple(tie('schema'), fc.nat({ max: 2 }), fc.nat({ max: 2 })).map(([items, minItems, more]) => {
      return { type: 'array', items, minItems, maxItems: minItems + more };
    }),
    fc.tuple(tie('schema'), leaf).map((anyOf) => ({ anyOf })),
    fc
      .uniqueArray(fc.tuple(word, tie('schema'), fc.boolean()), { selector: ([name]) => name, maxLength: 4 })
      .map((members) => ({
        type: 'object',
        properties: Object.fromEntries(members.map(([name, schema]) => [name, schema])),
        required: members.filter(([, , isRequired]) => isRequired).map(([name]) => name),
        additionalProperties: false,
      })),
  ),
}));

export const boundedSchema = schema;
