// Plans a chat from what it asks for beside its messages (tools, thinking, a form of the output): what the template,
// the engine and the reader of the output need.

import { LorikeetError } from '../../../core/errors.ts';
import type { Tool, ToolsBody } from '../../schemas/tools.ts';
import type { ChatTemplate } from '../chat-templates.ts';
import type { Asked } from '../structured-output.ts';
import { type CallForm, callFormOf, callsGrammar, callsOrAnswer } from './call-forms.ts';
import { templateVariables } from './template-variables.ts';

export type ChatPlan = {
  /** Tools that the model may call. */
  readonly tools: readonly Tool[];
  readonly variables: Readonly<Record<string, unknown>>;
  readonly asked: Asked | null;
  readonly form: CallForm | null;
  /** Whether the template knows thinking and no grammar forbids it. */
  readonly canThink: boolean;
  /** Finish reason of an answer with calls: `stop` where the call was asked for by name, as in OpenAI's API. */
  readonly callReason: 'tool_calls' | 'stop';
};

/** @param asked the form of the output that the request asks for beside the tools */
export function planChat(
  { source: chatTemplate }: Pick<ChatTemplate, 'source'>,
  body: ToolsBody,
  asked: Asked | null,
): ChatPlan {
  const variables = templateVariables(body, chatTemplate);
  const { tools, isForced, isNamed } = chosenTools(body);
  const form = tools.length > 0 ? callFormOf(chatTemplate) : null;
  const grammar = form && outputGrammar(form, tools, { isForced, isParallel: mayRepeat(body, isNamed), asked });
  const wanted = grammar ? { grammar: { kind: 'lark', text: grammar } as const, param: 'tools' } : asked;
  return {
    ...{ tools, variables, form },
    asked: wanted,
    canThink: wanted === null && chatTemplate !== null && chatTemplate.includes('<think>'),
    callReason: isNamed ? 'stop' : 'tool_calls',
  };
}

const mayRepeat = ({ parallel_tool_calls = true }: ToolsBody, isNamed: boolean) => parallel_tool_calls && !isNamed;

type Chosen = { readonly tools: readonly Tool[]; readonly isForced: boolean; readonly isNamed: boolean };

function chosenTools({ tools = [], tool_choice: choice = 'auto' }: ToolsBody): Chosen {
  checkNames(tools);
  if (choice === 'none') return { tools: [], isForced: false, isNamed: false };
  if (choice === 'auto') return { tools, isForced: false, isNamed: false };
  if (tools.length === 0) throw invalid('tool_choice', 'tool_choice needs tools.');
  if (choice === 'required') return { tools, isForced: true, isNamed: false };
  const named = tools.filter((tool) => tool.function.name === choice.function.name);
  if (named.length === 0) throw invalid('tool_choice', `tools has no function ${choice.function.name}.`);
  return { tools: named, isForced: true, isNamed: true };
}

function checkNames(tools: readonly Tool[]): void {
  const names = tools.map((tool) => tool.function.name);
  const twice = names.findIndex((name, i) => names.indexOf(name) !== i);
  if (twice >= 0) throw invalid(`tools[${twice}].function.name`, `Two tools are called ${names[twice]}.`);
}

type OutputNeeds = { readonly isForced: boolean; readonly isParallel: boolean; readonly asked: Asked | null };

/** Grammar of the output; null where the model may write anything, and calls are then parsed from its text. */
function outputGrammar(form: CallForm, tools: readonly Tool[], needs: OutputNeeds): string | null {
  const { isForced, isParallel, asked } = needs;
  if (isForced && asked !== null)
    throw invalid(asked.param, `${asked.param} excludes a tool_choice that forces a call.`);
  if (isForced) return callsGrammar(form, tools, isParallel);
  if (asked === null) return null;
  if (asked.grammar.kind === 'json_schema') return callsOrAnswer(form, tools, isParallel, asked.grammar.text);
  throw invalid(asked.param, `${asked.param} excludes tools; with tools the answer may be JSON, by response_format.`);
}

const invalid = (param: string, message: string) => new LorikeetError('invalid_parameter', { message, param });
