/** Takes the hexadecimal part of a digest `sha256:<hex>`, which names files and stored objects. */
export const hexOf = (digest: string): string => digest.replace('sha256:', '');
