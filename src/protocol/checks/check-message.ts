// Checks messages of child processes before they are used. A child reads hostile files and runs native code, so that
// its messages may contain anything. Checks are compiled once.

import Type, { type Static, type TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { type ErrorCode, isErrorCode } from '../../core/errors.ts';

/** Reads a message; null where it is not a message of this kind. */
export type ReadMessage<Message> = (message: unknown) => Message | null;

/** Makes lists and fields readonly: static types of schemas are mutable, and messages are only read. */
type Read<T> = T extends ArrayBufferView ? T : T extends object ? { readonly [K in keyof T]: Read<T[K]> } : T;

type SchemasOf<Message extends { readonly type: string }> = {
  readonly [Kind in Message['type']]: TSchema;
};

/** Makes every field required, at any depth, so that types which differ in optional fields alone are not assignable. */
type Whole<T> = T extends ArrayBufferView ? T : T extends object ? { readonly [K in keyof T]-?: Whole<T[K]> } : T;

type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;

/** Makes the compiler reject schemas that do not describe `Message` exactly, field by field. */
type Exact<Message, Described> =
  Same<Message, Described> extends true
    ? Same<Whole<Message>, Whole<Described>> extends true
      ? unknown
      : { readonly 'an optional field is described by one side alone': never }
    : { readonly 'a field is described otherwise than it is typed': never };

/** Makes a reader of messages. @param schemas one for each `type`, without that field */
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

/** Any number, also NaN and infinities: a model may compute these, and other code judges them. */
export const number = Type.Refine(Type.Unsafe<number>({}), (value) => typeof value === 'number');
export const count = Type.Integer({ minimum: 0 });
/** Bytes and other quantities that are summed or divided. */
export const amount = Type.Number({ minimum: 0 });
export const errorCode = Type.Refine(Type.Unsafe<ErrorCode>({}), (value) => isErrorCode(value));
export const floats = Type.Refine(Type.Unsafe<Float32Array>({}), (value) => value instanceof Float32Array);
export const nullable = <Schema extends TSchema>(schema: Schema) => Type.Union([schema, Type.Null()]);
export const failure = { code: errorCode, message: Type.String() };
