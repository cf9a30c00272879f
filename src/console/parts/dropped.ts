// Reads what was dropped onto the page.

/** Gives the files that were dropped; of a folder, those directly inside and the folder's name. */
export async function dropped(data: DataTransfer): Promise<{ files: File[]; folder: string | null }> {
  // Both lists must be read before the first `await`: they are empty afterwards.
  const entries = [...data.items].map((item) => item.webkitGetAsEntry());
  const plain = [...data.files];
  const folder = entries.find((entry) => entry?.isDirectory) as FileSystemDirectoryEntry | undefined;
  if (folder === undefined) return { files: plain, folder: null };
  const inside = await entriesOf(folder.createReader());
  const files = inside.filter((entry) => entry.isFile) as FileSystemFileEntry[];
  const read = (entry: FileSystemFileEntry) => new Promise<File>((resolve, reject) => entry.file(resolve, reject));
  return { files: await Promise.all(files.map(read)), folder: folder.name };
}

/** Reads all entries: a reader gives at most a hundred at a time. */
async function entriesOf(reader: FileSystemDirectoryReader): Promise<FileSystemEntry[]> {
  const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
  return some.length === 0 ? [] : [...some, ...(await entriesOf(reader))];
}
