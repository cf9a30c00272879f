// Uploads a file of rows with a progress bar. The server checks every line, and its answer names the rows that cannot
// be trained on, which is shown as it is.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import type { FileObject } from '../../api/types.ts';
import { upload } from '../../api/upload.ts';
import { bytes, plural } from '../../figures.ts';
import { Button } from '../../parts/button.ts';
import { DropZone } from '../../parts/drop-zone.ts';
import { Progress } from '../../parts/facts.ts';
import { ErrorNote } from '../../parts/notes.ts';
import { useAction } from '../../state/action.ts';

type Props = {
  readonly label: string;
  readonly file: FileObject | null;
  readonly onFile: (file: FileObject | null) => void;
};

export function RowsFile({ label, file, onFile }: Props) {
  const action = useAction();
  const [share, setShare] = useState(0);
  const send = ([given]: readonly File[]) => {
    if (given === undefined) return;
    action.run(async () => {
      const form = new FormData();
      form.append('purpose', 'fine-tune');
      form.append('file', given, given.name);
      onFile(await upload<FileObject>('/v1/files', form, new AbortController().signal, setShare));
    });
  };
  if (file !== null) {
    return h(
      'div',
      { class: 'note' },
      h('div', null, h('strong', null, file.filename), ` ${plural(file.rows, 'row')}, ${bytes(file.bytes)}`),
      h(Button, { isSmall: true, kind: 'quiet', onClick: () => onFile(null) }, 'Another file'),
    );
  }
  return h(
    'div',
    { class: 'stack' },
    h(DropZone, { label, accept: '.jsonl,.json,application/jsonl', onFiles: send }),
    action.isRunning && h(Progress, { share, label: 'Upload' }),
    action.error && h(ErrorNote, { error: action.error }),
  );
}
