// Which parameters each generation route takes: sends every one alone, with a value that asks for something. The table
// shows what came back, so that no parameter can be ignored silently.

import { settingTable } from '../../src/config.ts';
import { vllmFlags, vllmVariables } from '../../src/vllm-words.ts';
import type { TestApp } from '../helpers/app.ts';

/** Parameters by the interface that they come from, each with a value that differs from its default. */
const parameters: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'OpenAI, chat and completions': {
    max_tokens: 4,
    max_completion_tokens: 4,
    temperature: 0.5,
    top_p: 0.5,
    n: 2,
    stop: ['x'],
    seed: 7,
    logit_bias: { 5: 1 },
    frequency_penalty: 0.5,
    presence_penalty: 0.5,
    logprobs: 1,
    top_logprobs: 2,
    echo: true,
    best_of: 2,
    suffix: 'end',
    response_format: { type: 'json_object' },
    tools: [{ type: 'function', function: { name: 'f', parameters: {} } }],
    tool_choice: 'required',
    parallel_tool_calls: false,
    functions: [{ name: 'f' }],
    modalities: ['audio'],
    audio: { voice: 'a', format: 'wav' },
    reasoning_effort: 'high',
    verbosity: 'low',
    prediction: { type: 'content', content: 'x' },
    web_search_options: {},
    store: true,
    metadata: { a: 'b' },
    user: 'somebody',
    safety_identifier: 'x',
    prompt_cache_key: 'x',
    service_tier: 'flex',
  },
  'OpenAI, responses': {
    instructions: 'Be brief.',
    max_output_tokens: 4,
    previous_response_id: 'resp_1',
    conversation: 'conv_1',
    background: true,
    reasoning: { effort: 'high' },
    include: ['message.output_text.logprobs'],
    text: { format: { type: 'json_object' } },
    truncation: 'auto',
  },
  'OpenAI, embeddings': {
    encoding_format: 'base64',
    dimensions: 4,
    pooling: 'last',
  },
  vLLM: {
    top_k: 3,
    min_p: 0.1,
    repetition_penalty: 1.1,
    stop_token_ids: [5],
    ignore_eos: true,
    min_tokens: 2,
    length_penalty: 2,
    use_beam_search: true,
    bad_words: ['x'],
    allowed_token_ids: [5],
    include_stop_str_in_output: true,
    skip_special_tokens: false,
    spaces_between_special_tokens: false,
    truncate_prompt_tokens: 4,
    prompt_logprobs: 1,
    return_token_ids: true,
    add_special_tokens: false,
    add_generation_prompt: false,
    continue_final_message: true,
    chat_template: '{{ messages }}',
    chat_template_kwargs: { enable_thinking: false },
    documents: [{ text: 'x' }],
    structured_outputs: { json: {} },
    guided_json: { type: 'object' },
    guided_regex: 'a+',
    guided_choice: ['a'],
    guided_grammar: 'root ::= "a"',
    priority: 1,
    request_id: 'x',
    cache_salt: 'x',
  },
  'Other servers': {
    adapter_id: 'a',
    adapter_scale: 0.5,
    adapters: [{ id: 'a' }],
    lora: [{ id: 0, scale: 1 }],
    lora_path: 'a',
    grammar: 'root ::= "a"',
    json_schema: {},
    regex: 'a',
    n_predict: 4,
    max_new_tokens: 4,
    n_probs: 2,
    repeat_penalty: 1.1,
    mirostat: 2,
    dry_multiplier: 0.8,
    xtc_probability: 0.5,
    typical_p: 0.5,
    temprature: 0.5,
    frobnicate: 1,
  },
  Anthropic: {
    system: 'Be brief.',
    stop_sequences: ['x'],
    thinking: { type: 'enabled', budget_tokens: 1024 },
    container: 'c',
    mcp_servers: [{ type: 'url', name: 'm', url: 'https://example.com' }],
  },
  'text-generation-inference': {
    best_of: 2,
    decoder_input_details: true,
    details: true,
    do_sample: true,
    return_full_text: true,
    top_n_tokens: 2,
    truncate: 4,
    watermark: true,
  },
  Ollama: {
    num_predict: 4,
    num_ctx: 64,
    num_keep: 4,
    repeat_last_n: 64,
    mirostat_tau: 5,
    format: 'json',
    keep_alive: '5m',
    think: true,
  },
};

type Route = { readonly url: string; readonly body: object; readonly wrap?: (field: object) => object };
const messages = [{ role: 'user', content: 'Hi' }];
const routes: readonly Route[] = [
  { url: '/v1/chat/completions', body: { model: 'tiny', messages } },
  { url: '/v1/completions', body: { model: 'tiny', prompt: 'Hi' } },
  { url: '/v1/responses', body: { model: 'tiny', input: 'Hi' } },
  { url: '/v1/embeddings', body: { model: 'tiny', input: 'Hi' } },
  { url: '/v1/messages', body: { model: 'tiny', messages, max_tokens: 8 } },
  { url: '/v1/generate', body: { prompt: 'Hi' } },
  { url: '/generate', body: { inputs: 'Hi' }, wrap: (parameters) => ({ parameters }) },
  {
    url: '/api/chat',
    body: { model: 'tiny', messages, stream: false },
    wrap: (options) => ({ options }),
  },
];

/** Fields of `/api/chat` beside `options`. */
const besideOptions = new Set(['tools', 'tool_choice', 'format', 'keep_alive', 'think']);

/** The same tool in the shapes of interfaces that have one of their own. */
const toolsOf: Readonly<Record<string, object>> = {
  '/v1/responses': { type: 'function', name: 'f', parameters: {} },
  '/v1/messages': { name: 'f', input_schema: {} },
};

const takesTools = new Set(['/v1/chat/completions', '/v1/responses', '/v1/messages', '/api/chat']);

/** A choice needs tools to choose from. */
function toolChoiceOf(choice: unknown, url: string): object {
  if (!takesTools.has(url)) return { tool_choice: choice };
  const tools = [toolsOf[url] ?? parameters['OpenAI, chat and completions']!.tools].flat();
  return { tools, tool_choice: url === '/v1/messages' ? { type: 'any' } : choice };
}

/** A parameter as the route takes it. In chats `logprobs` is a boolean, and `top_logprobs` needs it. */
function fieldOf(name: string, value: unknown, url: string): object {
  const tool = toolsOf[url];
  if (name === 'tools' && tool !== undefined) return { tools: [tool] };
  if (name === 'tool_choice') return toolChoiceOf(value, url);
  if (url !== '/v1/chat/completions') return { [name]: value };
  if (name === 'logprobs') return { logprobs: true };
  return name === 'top_logprobs' ? { logprobs: true, top_logprobs: value } : { [name]: value };
}

export async function outcomeOf({ post }: TestApp, { url, body, wrap }: Route, name: string, value: unknown) {
  const field = fieldOf(name, value, url);
  const isOption = wrap !== undefined && !(url === '/api/chat' && besideOptions.has(name));
  const answer = await post(url, { ...body, ...(isOption ? wrap(field) : field) });
  if (answer.statusCode === 200) {
    const ignored = String(answer.headers['x-ignored-parameters'] ?? '').split(', ');
    return ignored.includes(name) ? 'ignored, named' : 'works';
  }
  if (answer.statusCode >= 500) return `FAILED ${answer.statusCode}`;
  // The server looked for an adapter of that name, so it applied the parameter.
  if (answer.statusCode === 404 && /adapter|model/.test(answer.body)) return 'works';
  return answer.body.includes(name) ? 'refused' : `REFUSED WITHOUT ITS NAME: ${answer.body}`;
}

/** The text of docs/compatibility.md. */
export async function compatibility(testing: TestApp): Promise<string> {
  const lines = [
    '# Parameters of the generation routes and of embeddings',
    '',
    '`test/server/compatibility.test.ts` makes this table. It sends each parameter to each route, with a value that',
    'differs from the default. _works_: the parameter is applied. _refused_: the answer is 400 (422 on `/generate`)',
    'and names the parameter. _ignored, named_: the parameter changes no text, and the header',
    '`x-ignored-parameters` names it. Parameters of `/generate` are sent in `parameters`, and those of `/api/chat`',
    'in `options`, or beside it as Ollama has them. Tools and the choice among them are sent in the form of each',
    'interface. Null, empty and absent mean the same. Fields that a chat template has to read (`reasoning_effort`,',
    '`thinking`, `think`, ...) are refused here because the template of this test reads none; they work with',
    'templates that do.',
  ];
  for (const [group, values] of Object.entries(parameters)) {
    const rows = [];
    for (const [name, value] of Object.entries(values)) {
      const cells = [];
      for (const route of routes) cells.push(await outcomeOf(testing, route, name, value));
      rows.push([`\`${name}\``, ...cells]);
    }
    const head = ['parameter', ...routes.map(({ url }) => `\`${url}\``)];
    lines.push('', `## ${group}`, '', ...markdown([head, ...rows]));
  }
  return `${lines.join('\n')}\n`;
}

function markdown(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  const line = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`;
  return [line(rows[0]!), line(widths.map((width) => '-'.repeat(width))), ...rows.slice(1).map(line)];
}

/** The table of vLLM's flags and variables, from the code that reads them. */
export function vllmWordTable(): string {
  const shared = ['host', 'port', 'model', 'served-model-name', 'lora-modules', 'hf-token'];
  const renamed = ['max-num-seqs', 'max-model-len', 'api-key'];
  const same = shared.map((flag) => [`\`--${flag}\``, 'the same']);
  const envOf = (flag: string) => Object.values(settingTable).find(({ aliases }) => aliases.includes(flag))!.env;
  const named = renamed.map((flag) => [`\`--${flag}\``, `\`${envOf(flag)}\``]);
  const rows = [
    ...[...same, ...named],
    ...Object.entries(vllmFlags).map(([flag, { says }]) => [`\`--${flag}\``, says]),
    ...Object.entries(vllmVariables).map(([name, { says }]) => [`\`${name}\``, says]),
  ];
  return [
    "# vLLM's flags and variables",
    '',
    'Flags written for `vllm serve` start `lorikeet serve` where each word means the same. What means something else',
    "is refused by its name, with what to write instead. This server's own flags and variables go first.",
    'Other variables that begin with `VLLM_` are named at the start and change nothing.',
    '',
    ...markdown([['flag or variable', 'here'], ...rows]),
    '',
  ].join('\n');
}
