// Rewrites a graph of 16-bit floats for a runtime that only casts them: each operator computes in float32 between
// casts, so values between two operators are rounded as on a card whose kernels sum in float32.

import {
  dataTypes,
  type OnnxGraph,
  type OnnxInitializer,
  type OnnxNode,
  type OnnxValue,
} from '../../src/formats/onnx.ts';

export type Rounded = 'float16' | 'bfloat16';

/** Operators whose outputs are not 16-bit floats although an input is; every other operator's outputs are. */
const others = new Set(['Shape', 'Equal', 'Greater', 'Less', 'IsNaN', 'ArgMax']);

/** Casts around the operators. Inputs, outputs and initialisers of the graph keep their types. */
export function roundedGraph(graph: OnnxGraph, real: Rounded): OnnxGraph {
  const rounded = new Set<string>();
  const known: readonly (OnnxValue | OnnxInitializer)[] = [...graph.inputs, ...graph.initializers];
  for (const { name, type } of known) if (type === real) rounded.add(name);
  const nodes: OnnxNode[] = [];
  /** Name of the float32 value by the name of the value that was cast. */
  const floats = new Map<string, string>();
  const cast = (from: string, to: string, type: keyof typeof dataTypes) =>
    nodes.push({ op: 'Cast', inputs: [from], outputs: [to], attributes: { to: dataTypes[type] } });
  const inFloat = (name: string): string => {
    if (!rounded.has(name)) return name;
    const there = floats.get(name) ?? `${name} in float32`;
    if (!floats.has(name)) cast(name, there, 'float32');
    floats.set(name, there);
    return there;
  };
  for (const node of graph.nodes) {
    if (node.op === 'Cast') {
      if (node.attributes!.to === dataTypes[real]) rounded.add(node.outputs[0]!);
      nodes.push(node);
      continue;
    }
    if (!node.inputs.some((name) => rounded.has(name))) {
      nodes.push(node);
      continue;
    }
    const inputs = node.inputs.map(inFloat);
    if (others.has(node.op)) {
      nodes.push({ ...node, inputs });
      continue;
    }
    nodes.push({ ...node, inputs, outputs: node.outputs.map((name) => name && `${name} before rounding`) });
    for (const name of node.outputs.filter((name) => name !== '')) {
      cast(`${name} before rounding`, name, real);
      rounded.add(name);
    }
  }
  return { ...graph, nodes };
}
