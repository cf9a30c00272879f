// The bodies and answers of /v1/adapters: adapters, versions, uploads.

import { type TSchema, Type } from '@fastify/type-provider-typebox';
import { limits } from '../../core/limits.ts';

const nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** A name's `/` is written `%2F` in an address. */
export const NameParams = Type.Object({ name: Type.String() });
export const VersionParams = Type.Object({
  name: Type.String(),
  version: Type.String({ pattern: '^[1-9][0-9]{0,8}$' }),
});

export const Adapter = Type.Object({
  id: Type.String({ description: '`name@version`, which may be asked for as it stands.' }),
  object: Type.Literal('adapter'),
  name: Type.String(),
  version: Type.Integer(),
  digest: Type.String({ description: '`sha256:` over config and weights.' }),
  base_digest: Type.String({ description: 'Of the base model that it was checked against.' }),
  r: Type.Integer({ description: 'The largest rank; 0 for virtual tokens, and for trained tokens alone.' }),
  target_modules: Type.Array(Type.String(), {
    description: 'What it changes; `embed_tokens` and `lm_head` for trained tokens too.',
  }),
  virtual_tokens: Type.Integer({
    description: 'Of prefix tuning, prompt tuning and p-tuning: tokens that stand before each text; 0 for LoRA.',
  }),
  parameters: Type.Integer(),
  bytes: Type.Integer({ description: 'Of adapter_model.safetensors.' }),
  created_at: Type.Integer({ description: 'Seconds since the epoch.' }),
  created_by: nullable(Type.String({ description: 'Prefix of the key; null on a server without keys.' })),
  source: Type.String({ description: 'upload, load, example or training.' }),
  state: Type.Enum(['ready', 'corrupt', 'deleting']),
  residency: Type.Enum(['merged', 'pages', 'memory', 'disk'], {
    description:
      'The nearest place of its weights now: merged into weights beside the base, in pages beside the base, in the ' +
      "engine's memory, or on the disk alone.",
  }),
  chat_template: nullable(
    Type.String({ description: "`sha256:` of its own chat template; null: the base model's renders its messages." }),
  ),
  warnings: Type.Array(Type.String({ description: 'What is legal and probably not meant.' })),
  aliases: Type.Array(Type.String({ description: 'Aliases that point to this version.' })),
});
export type Adapter = Type.Static<typeof Adapter>;

export const Provenance = Type.Object({
  job: Type.String(),
  training_file: Type.String({ description: '`sha256:` of its bytes.' }),
  validation_file: nullable(Type.String()),
  initial: nullable(Type.String({ description: 'Digest of the adapter that it went on from.' })),
  hyperparameters: Type.Record(Type.String(), Type.Unknown()),
  steps: Type.Integer(),
  trained_tokens: Type.Integer(),
  valid_loss: nullable(Type.Number({ description: 'The best.' })),
  loss_curve: Type.Array(
    Type.Object({ step: Type.Integer(), train_loss: Type.Number(), valid_loss: Type.Optional(Type.Number()) }),
  ),
});
export type Provenance = Type.Static<typeof Provenance>;

export const AdapterWithProvenance = Type.Intersect([Adapter, Type.Object({ provenance: nullable(Provenance) })]);
export type AdapterWithProvenance = Type.Static<typeof AdapterWithProvenance>;

export const listOf = <T extends TSchema>(item: T) =>
  Type.Object({
    object: Type.Literal('list'),
    data: Type.Array(item),
    has_more: Type.Boolean(),
    first_id: nullable(Type.String()),
    last_id: nullable(Type.String({ description: 'What `after` of the next page is.' })),
  });

export const AdapterList = listOf(Adapter);

/** Numbers of a query stay text, since the server never converts what a caller sent. */
export const PageQuery = Type.Object(
  {
    after: Type.Optional(Type.String({ description: 'The last id of the page before.' })),
    limit: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,2}$', description: `1 to ${limits.listPage}.` })),
  },
  { additionalProperties: false },
);
export type PageQuery = Type.Static<typeof PageQuery>;

/** Publishes weights of a resumable upload. A config that is sent as text keeps its bytes, and so its digest. */
export const PublishBody = Type.Object(
  {
    name: Type.String({ minLength: 1 }),
    config: Type.Optional(
      Type.Union([Type.String(), Type.Record(Type.String(), Type.Unknown())], {
        title: 'the object in adapter_config.json, or its text',
        description: 'A GGUF adapter has none.',
      }),
    ),
    weights: Type.String({ pattern: '^sha256:[0-9a-f]{64}$', description: 'Digest of the uploaded weights.' }),
    companions: Type.Optional(
      Type.Array(Type.String({ maxLength: limits.fileNameChars }), {
        maxItems: limits.adapterCompanions,
        description: 'Names of files beside the adapter, as chat_template.jinja; what they would change is warned of.',
      }),
    ),
    chat_template: Type.Optional(
      Type.String({ description: 'Its own chat template, which is kept where the server has a setting for it.' }),
    ),
  },
  { additionalProperties: false },
);
export type PublishBody = Type.Static<typeof PublishBody>;

export const Deletion = Type.Object({
  id: Type.String(),
  object: Type.String(),
  deleted: Type.Boolean({ description: 'false while requests still use it; it takes no new ones.' }),
});

export const UploadParams = Type.Object({
  digest: Type.String({ pattern: '^sha256:[0-9a-f]{64}$', description: 'Of the whole file.' }),
});

const bytes = (description: string) => Type.String({ pattern: '^[0-9]{1,15}$', description });
export const UploadHeaders = Type.Object({
  'upload-offset': bytes('Bytes that the server has already, as HEAD says.'),
  'upload-length': bytes('Bytes of the whole file.'),
});

export const LoadBody = Type.Object({
  lora_name: Type.Optional(Type.String()),
  lora_path: Type.Optional(Type.String({ description: 'A folder below LORIKEET_ADAPTER_ROOT.' })),
  load_inplace: Type.Optional(Type.Boolean({ default: false, description: 'Make a new version of a name.' })),
});

export const UnloadBody = Type.Object({
  lora_name: Type.Optional(Type.String()),
  lora_int_id: Type.Optional(Type.Integer({ description: "Ignored: vLLM's own number." })),
});
