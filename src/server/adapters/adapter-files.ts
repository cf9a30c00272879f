// What PEFT calls an adapter's two files, and transformers a chat template.

export const configFile = 'adapter_config.json';
export const weightsFile = 'adapter_model.safetensors';
export const templateFile = 'chat_template.jinja';
