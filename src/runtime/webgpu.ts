// WebGPU: Dawn over Vulkan, Metal or Direct3D, inside the packaged library.

import { packagedLibrary } from './packaged-library.ts';
import type { Provider, ProviderPlaces } from './provider.ts';

export const webGpuProvider = ({ library }: ProviderPlaces): Provider => ({
  name: 'webgpu',
  library: library ?? packagedLibrary(),
  memory: { name: 'WebGPU_Buffer', index: 0 },
  // An address names a buffer, without an offset into it.
  anchored: true,
  real: 'float32',
  // ONNX Runtime's operator for WebGPU copies whole sequences out of their blocks in each step.
  hasBlocks: false,
  strict: true,
  hint: 'It needs a graphics driver with Vulkan (Linux), Metal or Direct3D 12; see "Devices" in the README.',
  operators: null,
  append: (api, settings) => void api.call('appendExecutionProvider', settings, 'WebGPU', null, null, 0),
  freeBytes: () => null,
});
