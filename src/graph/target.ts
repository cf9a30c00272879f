// What a graph is for. The algebra is the same; a device wants other forms of it.
//
//   host     8-bit products round activations, A pages lie [8, in] as PEFT has them
//   device   products are of floats, A pages lie [in, 8]: ONNX Runtime's operators multiply by matrices that lie so

export type Real = 'float32' | 'float16';

export type GraphTarget = {
  readonly on: 'host' | 'device';
  /** Of weights' scales, activations, keys and values, and adapters. Logits are float32 in any case. */
  readonly real: Real;
  /** The device has the project's own operators: GroupedLora, GatedSilu. */
  readonly hasOperators?: boolean;
};

export const hostTarget: GraphTarget = { on: 'host', real: 'float32' };
