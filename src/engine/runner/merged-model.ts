// A merged model in the decoder, as those see it who only say which one runs.

export type MergedModel = { readonly id: number };
