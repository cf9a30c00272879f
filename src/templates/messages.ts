// Messages between the server and the process that renders adapters' chat templates: one question at a time.

/** A template and its variables; with null the question is only whether the template can be parsed. */
export type TemplateQuestion = {
  readonly id: number;
  readonly source: string;
  readonly variables: Readonly<Record<string, unknown>> | null;
};

export type TemplateEvent =
  | { readonly type: 'ready' }
  | { readonly type: 'rendered'; readonly id: number; readonly text: string }
  | { readonly type: 'refused'; readonly id: number; readonly message: string };
