// Writes ONNX models as bytes. ONNX is protobuf, and a writer needs only three of its wire types, so they are written
// by hand and not generated. Knows the field numbers of onnx.proto3, but not what a graph means. Reads nothing.

export type OnnxType = 'float32' | 'float16' | 'bfloat16' | 'uint8' | 'int32' | 'int64';
/** Dimensions; a string is a symbolic one. */
export type OnnxShape = readonly (number | string)[];
export type OnnxValue = { readonly name: string; readonly type: OnnxType; readonly shape: OnnxShape };

export type OnnxAttribute = number | string | readonly number[] | { readonly float: number };
export type OnnxNode = {
  readonly op: string;
  readonly domain?: string;
  /** Names of inputs; '' leaves out an optional input or output. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Values by name. Plain numbers are integers; a float is `{ float }`. */
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
};

export type OnnxInitializer = OnnxValue & {
  readonly shape: readonly number[];
  /** Raw little-endian elements; null where the caller gives the data to the session by name (shared weights). */
  readonly data: Uint8Array | null;
};

export type OnnxGraph = {
  readonly nodes: readonly OnnxNode[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
  readonly initializers: readonly OnnxInitializer[];
};

const irVersion = 10;
const opsetVersion = 21;
/** Numbers of TensorProto.DataType, which Cast also takes as an attribute. */
export const dataTypes = { float32: 1, uint8: 2, int32: 6, int64: 7, float16: 10, bfloat16: 16 } as const;
const attributeTypes = { float: 1, int: 2, string: 3, ints: 7 } as const;
const externalData = 1;

/** Domain of the operators in native/. */
export const nativeDomain = 'lorikeet';

/** Serialises a model with the standard operators, ONNX Runtime's (`com.microsoft`) and those in native/. */
export function encodeOnnx(graph: OnnxGraph): Uint8Array {
  const opset = (domain: string, version: number) => message((m) => m.string(1, domain).int(2, version));
  return message((model) => {
    model
      .int(1, irVersion)
      .string(2, 'lorikeet')
      .bytes(7, encodeGraph(graph))
      .bytes(8, opset('', opsetVersion))
      .bytes(8, opset('com.microsoft', 1));
    if (graph.nodes.some(({ domain }) => domain === nativeDomain)) model.bytes(8, opset(nativeDomain, 1));
  });
}

function encodeGraph(graph: OnnxGraph): Uint8Array {
  return message((m) => {
    for (const [index, node] of graph.nodes.entries()) m.bytes(1, encodeNode(node, index));
    m.string(2, 'decoder');
    for (const initializer of graph.initializers) m.bytes(5, encodeInitializer(initializer));
    for (const input of graph.inputs) m.bytes(11, encodeValue(input));
    for (const output of graph.outputs) m.bytes(12, encodeValue(output));
  });
}

function encodeNode(node: OnnxNode, index: number): Uint8Array {
  return message((m) => {
    for (const input of node.inputs) m.string(1, input);
    for (const output of node.outputs) m.string(2, output);
    m.string(3, `${node.op}_${index}`).string(4, node.op);
    for (const [name, value] of Object.entries(node.attributes ?? {})) m.bytes(5, encodeAttribute(name, value));
    if (node.domain) m.string(7, node.domain);
  });
}

function encodeAttribute(name: string, value: OnnxAttribute): Uint8Array {
  return message((m) => {
    m.string(1, name);
    if (typeof value === 'number') m.int(3, value).int(20, attributeTypes.int);
    else if (typeof value === 'string') m.string(4, value).int(20, attributeTypes.string);
    else if ('float' in value) m.float(2, value.float).int(20, attributeTypes.float);
    else {
      for (const item of value) m.int(8, item);
      m.int(20, attributeTypes.ints);
    }
  });
}

/**
 * Location of data that a session is given by name, and that is in no file. The library only checks that this path
 * exists below the process's folder, and reads nothing, so the folder itself serves.
 */
const nowhere = '.';

function encodeInitializer({ name, type, shape, data }: OnnxInitializer): Uint8Array {
  return message((m) => {
    for (const length of shape) m.int(1, length);
    m.int(2, dataTypes[type]).string(8, name);
    if (data) m.bytes(9, data);
    else
      m.bytes(
        13,
        message((entry) => entry.string(1, 'location').string(2, nowhere)),
      ).int(14, externalData);
  });
}

function encodeValue({ name, type, shape }: OnnxValue): Uint8Array {
  const dimension = (length: number | string) =>
    message((m) => (typeof length === 'number' ? m.int(1, length) : m.string(2, length)));
  const dimensions = message((m) => {
    for (const length of shape) m.bytes(1, dimension(length));
  });
  const tensor = message((m) => m.int(1, dataTypes[type]).bytes(2, dimensions));
  return message((m) =>
    m.string(1, name).bytes(
      2,
      message((t) => t.bytes(1, tensor)),
    ),
  );
}

type Message = {
  int(field: number, value: number): Message;
  float(field: number, value: number): Message;
  string(field: number, value: string): Message;
  bytes(field: number, value: Uint8Array): Message;
};

const wire = { varint: 0, bytes: 2, float: 5 } as const;
const utf8 = new TextEncoder();

/** A single byte, or several. */
type Chunk = number | Uint8Array;

/** Encodes one protobuf message. `write` adds its fields in order. */
function message(write: (m: Message) => unknown): Uint8Array {
  const chunks: Chunk[] = [];
  const tag = (field: number, type: number) => pushVarint(chunks, field * 8 + type);
  const self: Message = {
    int(field, value) {
      tag(field, wire.varint);
      pushVarint(chunks, value);
      return self;
    },
    float(field, value) {
      tag(field, wire.float);
      chunks.push(new Uint8Array(Float32Array.of(value).buffer));
      return self;
    },
    string: (field, value) => self.bytes(field, utf8.encode(value)),
    bytes(field, value) {
      tag(field, wire.bytes);
      pushVarint(chunks, value.length);
      chunks.push(value);
      return self;
    },
  };
  write(self);
  return concat(chunks);
}

/** Writes a number in base 128, least significant group first. Negative numbers are 64-bit two's complement. */
function pushVarint(chunks: Chunk[], value: number): void {
  if (value < 0) {
    pushNegative(chunks, value);
    return;
  }
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) chunks.push((rest % 128) | 0x80);
  chunks.push(rest);
}

function pushNegative(chunks: Chunk[], value: number): void {
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 0x7fn; rest >>= 7n) chunks.push(Number(rest & 0x7fn) | 0x80);
  chunks.push(Number(rest));
}

function concat(chunks: readonly Chunk[]): Uint8Array {
  const length = (chunk: Chunk) => (typeof chunk === 'number' ? 1 : chunk.length);
  const all = new Uint8Array(chunks.reduce<number>((sum, chunk) => sum + length(chunk), 0));
  let offset = 0;
  for (const chunk of chunks) {
    if (typeof chunk === 'number') all[offset] = chunk;
    else all.set(chunk, offset);
    offset += length(chunk);
  }
  return all;
}
