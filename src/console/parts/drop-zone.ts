// Files by dropping them, or a folder, or by choosing them.

import { type ComponentChildren, h } from 'preact';
import { useId, useState } from 'preact/hooks';
import { dropped } from './dropped.ts';
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
