// Files by dropping them, or a folder, or by choosing them.

import { type ComponentChildren, h } from 'preact';
import { useId, useState } from 'preact/hooks';
import { Icon } from './icons.ts';

type Props = {
  readonly label: string;
  readonly isFolder?: boolean;
  readonly accept?: string;
  readonly onFiles: (files: readonly File[], folder: string | null) => void;
  readonly children?: ComponentChildren;
};

export function DropZone({ label, isFolder = false, accept, onFiles, children }: Props) {
  const id = useId();
  const [isOver, setOver] = useState(false);
  const over = (event: DragEvent) => {
    event.preventDefault();
    setOver(true);
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    if (event.dataTransfer) void dropped(event.dataTransfer).then(({ files, folder }) => onFiles(files, folder));
  };
  const choose = (event: { currentTarget: HTMLInputElement }) => {
    const files = [...(event.currentTarget.files ?? [])];
    onFiles(files, files[0]?.webkitRelativePath.split('/').at(-2) ?? null);
    // The same file may be chosen again after a refusal.
    event.currentTarget.value = '';
  };
  const input = { id, type: 'file', class: 'unseen', multiple: isFolder, accept, onChange: choose };
  return h(
    'div',
    { class: `drop ${isOver ? 'over' : ''}`, onDragOver: over, onDragLeave: () => setOver(false), onDrop: drop },
    h('input', isFolder ? { ...input, ...folderOnly } : input),
    h('label', { for: id }, h(Icon, { name: 'upload' }), h('span', null, label)),
    children,
  );
}

/** The attribute has no type of its own: it is no standard, and every browser has it. */
const folderOnly: object = { webkitdirectory: true };

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
