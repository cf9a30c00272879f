// Multipart bodies as clients send them, for injected requests.

export type FormPart = { readonly name: string; readonly filename?: string; readonly content: string | Uint8Array };

const boundary = 'a-boundary-of-a-test';

export function formOf(...parts: readonly FormPart[]): { payload: Buffer; headers: Record<string, string> } {
  const chunks = parts.flatMap(({ name, filename, content }) => [
    `--${boundary}\r\ncontent-disposition: form-data; name="${name}"`,
    filename === undefined ? '\r\n\r\n' : `; filename="${filename}"\r\ncontent-type: application/jsonl\r\n\r\n`,
    content,
    '\r\n',
  ]);
  const payload = Buffer.concat([...chunks, `--${boundary}--\r\n`].map((chunk) => Buffer.from(chunk as string)));
  return { payload, headers: { 'content-type': `multipart/form-data; boundary=${boundary}` } };
}

/** A form of rows with OpenAI's parts. */
export const rowsForm = (content: string | Uint8Array) =>
  formOf({ name: 'purpose', content: 'fine-tune' }, { name: 'file', filename: 'rows.jsonl', content });
