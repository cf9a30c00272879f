// What a child process says is looked at before anything is done with it: a child reads hostile files and runs native
// code, so what arrives may be anything. Checks are compiled once.

import Type, { type Static, type TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { type ErrorCode, isErrorCode } from '../../core/errors.ts';

/** null: it is no message of this kind. */
export type ReadMessage<Message> = (message: unknown) => Message | null;

/** Static types of schemas have plain lists; messages are only read. */
type Read<T> = T extends ArrayBufferView ? T : T extends object ? { readonly [K in keyof T]: Read<T[K]> } : T;

type SchemasOf<Message extends { readonly type: string }> = {
  readonly [Kind in Message['type']]: TSchema;
};

/** Said of schemas that describe all of `Message`, field by field, and nothing else. */
type Exact<Message, Described> = [Message] extends [Described]
  ? [Described] extends [Message]
    ? unknown
    : { readonly 'a field is described otherwise than it is typed': never }
  : { readonly 'a field that is typed is not allowed': never };

/** @param schemas by the message's `type`, without that field */
export function messageReader<Message extends { readonly type: string }>() {
  return <Schemas extends SchemasOf<Message>>(
    schemas: Schemas &
      Exact<Message, { [Kind in keyof Schemas]: { readonly type: Kind } & Read<Static<Schemas[Kind]>> }[keyof Schemas]>,
  ): ReadMessage<Message> => {
    const checks = new Map(Object.entries<TSchema>(schemas).map(([kind, of]) => [kind, Compile(of)]));
    return (message) => {
      if (typeof message !== 'object' || message === null || !('type' in message)) return null;
      const check = checks.get(message.type as string);
      return check?.Check(message) ? (message as unknown as Message) : null;
    };
  };
}

// --- parts of messages ---

/** Infinities and no number too: what a model computes may be either, and that is for others to judge. */
export const number = Type.Refine(Type.Unsafe<number>({}), (value) => typeof value === 'number');
export const count = Type.Integer({ minimum: 0 });
/** Bytes, and what else is summed or divided. */
export const amount = Type.Number({ minimum: 0 });
export const errorCode = Type.Refine(Type.Unsafe<ErrorCode>({}), (value) => isErrorCode(value));
export const floats = Type.Refine(Type.Unsafe<Float32Array>({}), (value) => value instanceof Float32Array);
export const nullable = <Schema extends TSchema>(schema: Schema) => Type.Union([schema, Type.Null()]);
export const failure = { code: errorCode, message: Type.String() };
