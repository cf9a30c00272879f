// Tells addresses and names that mean this machine alone.

export const isLoopback = (host: string): boolean =>
  /^(127(\.\d{1,3}){3}|localhost|.+\.localhost|\[?::1\]?)$/i.test(host);
