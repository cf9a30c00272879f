// Decodes what `encodeOnnx` wrote, for tests that have a graph's bytes and change the graph.

import {
  dataTypes,
  type OnnxAttribute,
  type OnnxGraph,
  type OnnxInitializer,
  type OnnxNode,
  type OnnxType,
  type OnnxValue,
} from '../../src/formats/onnx.ts';

/** A protobuf message by field number: varints, bytes, and 32-bit floats as bytes. */
type Fields = ReadonlyMap<number, readonly (bigint | Uint8Array)[]>;

export function decodeOnnx(model: Uint8Array): OnnxGraph {
  const graph = fieldsOf(messages(fieldsOf(model), 7)[0]!);
  return {
    nodes: messages(graph, 1).map(nodeOf),
    inputs: messages(graph, 11).map(namedValue),
    outputs: messages(graph, 12).map(namedValue),
    initializers: messages(graph, 5).map(initializerOf),
  };
}

function nodeOf(bytes: Uint8Array): OnnxNode {
  const node = fieldsOf(bytes);
  return {
    op: texts(node, 4)[0]!,
    domain: texts(node, 7)[0] ?? '',
    inputs: texts(node, 1),
    outputs: texts(node, 2),
    attributes: Object.fromEntries(messages(node, 5).map(attributeOf)),
  };
}

function attributeOf(bytes: Uint8Array): [name: string, value: OnnxAttribute] {
  const attribute = fieldsOf(bytes);
  const kinds: Readonly<Record<number, () => OnnxAttribute>> = {
    1: () => ({ float: new DataView(messages(attribute, 2)[0]!.slice().buffer).getFloat32(0, true) }),
    2: () => integers(attribute, 3)[0]!,
    3: () => texts(attribute, 4)[0]!,
    7: () => integers(attribute, 8),
  };
  return [texts(attribute, 1)[0]!, kinds[integers(attribute, 20)[0]!]!()];
}

function initializerOf(bytes: Uint8Array): OnnxInitializer {
  const tensor = fieldsOf(bytes);
  const data = messages(tensor, 9)[0] ?? null;
  return { name: texts(tensor, 8)[0]!, type: typeOf(tensor, 2), shape: integers(tensor, 1), data };
}

function namedValue(bytes: Uint8Array): OnnxValue {
  const value = fieldsOf(bytes);
  const tensor = fieldsOf(messages(fieldsOf(messages(value, 2)[0]!), 1)[0]!);
  const dimensions = messages(fieldsOf(messages(tensor, 2)[0]!), 1).map(fieldsOf);
  const shape = dimensions.map((dimension) => texts(dimension, 2)[0] ?? integers(dimension, 1)[0]!);
  return { name: texts(value, 1)[0]!, type: typeOf(tensor, 1), shape };
}

const utf8 = new TextDecoder();
const messages = (fields: Fields, field: number) => (fields.get(field) ?? []) as Uint8Array[];
const texts = (fields: Fields, field: number) => messages(fields, field).map((bytes) => utf8.decode(bytes));
const integers = (fields: Fields, field: number) =>
  ((fields.get(field) ?? []) as bigint[]).map((value) => Number(BigInt.asIntN(64, value)));

function typeOf(fields: Fields, field: number): OnnxType {
  const [code] = integers(fields, field);
  return Object.entries(dataTypes).find(([, known]) => known === code)![0] as OnnxType;
}

function fieldsOf(bytes: Uint8Array): Fields {
  const fields = new Map<number, (bigint | Uint8Array)[]>();
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++]!;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const take = (count: number) => {
    at += count;
    return bytes.subarray(at - count, at);
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const wire = tag & 7;
    const value = wire === 0 ? varint() : wire === 5 ? take(4) : take(Number(varint()));
    const values = fields.get(tag >> 3);
    if (values) values.push(value);
    else fields.set(tag >> 3, [value]);
  }
  return fields;
}
