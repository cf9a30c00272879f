// Downloads a version's files as a tar. The page reads the bytes itself, since a link could not send the key.

import { h } from 'preact';
import { open, part } from '../../api/client.ts';
import type { Adapter } from '../../api/types.ts';
import { Button } from '../../parts/button.ts';
import { useAction } from '../../state/action.ts';
import { say } from '../../state/toasts.ts';

export function DownloadButton({ version: { id, name, version } }: { version: Adapter }) {
  const action = useAction();
  const take = () =>
    action.run(async () => {
      const path = `/v1/adapters/${part(name)}/versions/${version}/content`;
      const answer = await open(path).catch((error: Error) => {
        say(error.message);
        return null;
      });
      if (answer !== null) saveFile(await answer.blob(), `${id.replaceAll('/', '-')}.tar`);
    });
  const label = `Download ${id}`;
  return h(Button, {
    isSmall: true,
    kind: 'quiet',
    icon: 'download',
    label,
    isBusy: action.isRunning,
    onClick: take,
  });
}

export function saveFile(content: Blob, name: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
