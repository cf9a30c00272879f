// File names of an adapter, as PEFT and transformers write them.

export const configFile = 'adapter_config.json';
export const weightsFile = 'adapter_model.safetensors';
export const templateFile = 'chat_template.jinja';
