// Collects nodes of an ONNX graph. A method that adds an operator returns the name of its output, so that code that
// builds a decoder reads as its algebra.

import { toBfloat16 } from '../core/bfloat16.ts';
import {
  dataTypes,
  nativeDomain,
  type OnnxAttribute,
  type OnnxGraph,
  type OnnxInitializer,
  type OnnxNode,
  type OnnxShape,
  type OnnxType,
  type OnnxValue,
} from '../formats/onnx.ts';

const microsoft = 'com.microsoft';

type Float = Extract<OnnxType, 'float32' | 'float16' | 'bfloat16'>;

export type GraphBuilder = ReturnType<typeof createGraphBuilder>;

export function createGraphBuilder() {
  const nodes: OnnxNode[] = [];
  const inputs: OnnxValue[] = [];
  const outputs: OnnxValue[] = [];
  const initializers = new Map<string, OnnxInitializer>();
  const casts = new Map<string, string>();
  let fresh = 0;

  type Attributes = Readonly<Record<string, OnnxAttribute>>;

  /** `results` names the outputs; null makes up a name, and '' leaves an output out. */
  const add = (
    op: string,
    operands: readonly string[],
    attributes: Attributes = {},
    domain = '',
    results: readonly (string | null)[] = [null],
  ): string[] => {
    const names = results.map((name) => name ?? `t${fresh++}`);
    nodes.push({ op, domain, inputs: operands, outputs: names, attributes });
    return names;
  };

  return {
    input(name: string, type: OnnxType, shape: OnnxShape): string {
      inputs.push({ name, type, shape });
      return name;
    },
    output(name: string, type: OnnxType, shape: OnnxShape): string {
      outputs.push({ name, type, shape });
      return name;
    },
    /** An initialiser whose memory is given when the session is made. */
    weight(name: string, type: OnnxType, shape: readonly number[]): string {
      initializers.set(name, { name, type, shape, data: null });
      return name;
    },
    /** A small constant in the graph itself. */
    integers(name: string, values: readonly number[]): string {
      const data = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
      initializers.set(name, { name, type: 'int64', shape: [values.length], data });
      return name;
    },
    float(name: string, value: number, type: 'float32' | 'bfloat16' = 'float32'): string {
      const values = type === 'float32' ? Float32Array.of(value) : toBfloat16([value]);
      initializers.set(name, { name, type, shape: [1], data: new Uint8Array(values.buffer) });
      return name;
    },
    op: (op: string, operands: readonly string[], attributes?: Attributes, name?: string): string =>
      add(op, operands, attributes, '', [name ?? null])[0]!,
    /** An operator with several outputs. */
    ops: (op: string, operands: readonly string[], attributes: Attributes, results: readonly (string | null)[]) =>
      add(op, operands, attributes, '', results),
    contrib: (op: string, operands: readonly string[], attributes: Attributes, results?: readonly (string | null)[]) =>
      add(op, operands, attributes, microsoft, results),
    /** A native operator of this project (native/). */
    native: (op: string, operands: readonly string[], attributes: Attributes = {}, name?: string): string =>
      add(op, operands, attributes, nativeDomain, [name ?? null])[0]!,
    /** Casts an operand of type `from`, once for all readers; gives the operand itself where the types are equal. */
    cast(operand: string, type: Float, from: Float = 'float32'): string {
      if (type === from) return operand;
      return once(casts, `${type} ${operand}`, () => add('Cast', [operand], { to: dataTypes[type] })[0]!);
    },
    split: (operand: string, lengths: string, count: number): string[] =>
      add('Split', [operand, lengths], { axis: -1 }, '', new Array(count).fill(null)),
    build: (): OnnxGraph => ({ nodes, inputs, outputs, initializers: readBy(nodes, initializers.values()) }),
  };
}

function once(known: Map<string, string>, key: string, make: () => string): string {
  const name = known.get(key) ?? make();
  known.set(key, name);
  return name;
}

/** The initialisers that some node reads. */
function readBy(nodes: readonly OnnxNode[], initializers: Iterable<OnnxInitializer>): OnnxInitializer[] {
  const read = new Set(nodes.flatMap(({ inputs }) => inputs));
  return [...initializers].filter(({ name }) => read.has(name));
}
