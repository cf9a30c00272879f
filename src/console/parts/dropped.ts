// What was dropped onto the page.

/** Files of what was dropped; of a folder those that lie in it, and its name. */
export async function dropped(data: DataTransfer): Promise<{ files: File[]; folder: string | null }> {
  // Both lists are empty after the first wait.
  const entries = [...data.items].map((item) => item.webkitGetAsEntry());
  const plain = [...data.files];
  const folder = entries.find((entry) => entry?.isDirectory) as FileSystemDirectoryEntry | undefined;
  if (folder === undefined) return { files: plain, folder: null };
  const inside = await entriesOf(folder.createReader());
  const files = inside.filter((entry) => entry.isFile) as FileSystemFileEntry[];
  const read = (entry: FileSystemFileEntry) => new Promise<File>((resolve, reject) => entry.file(resolve, reject));
  return { files: await Promise.all(files.map(read)), folder: folder.name };
}

/** A reader gives at most a hundred at a time. */
async function entriesOf(reader: FileSystemDirectoryReader): Promise<FileSystemEntry[]> {
  const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
  return some.length === 0 ? [] : [...some, ...(await entriesOf(reader))];
}
