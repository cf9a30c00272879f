// A merged model in the decoder, as those see it who only say which one runs.

export type MergedModel = {
  /** Which kernels its linears take: their widths and forms, whatever the numbers are. */
  readonly kernels: string;
};
