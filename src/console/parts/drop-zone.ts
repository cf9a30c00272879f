// Takes files or a folder, dropped or chosen.

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
    // Without this, choosing the same file again after a refusal would be no change.
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

/** The attribute is not in the types, since it is no standard; all browsers have it. */
const folderOnly: object = { webkitdirectory: true };
