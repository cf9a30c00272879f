/** Of a digest `sha256:<hex>`, as files and objects are named by it. */
export const hexOf = (digest: string): string => digest.replace('sha256:', '');
