// What PEFT calls an adapter's two files.

export const configFile = 'adapter_config.json';
export const weightsFile = 'adapter_model.safetensors';
