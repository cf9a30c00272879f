// Actions of a job: pause, resume, cancel, and promoting its result.

import { h } from 'preact';
import { useState } from 'preact/hooks';
import { ask, part } from '../../api/client.ts';
import type { Job } from '../../api/types.ts';
import { Button, LinkButton } from '../../parts/button.ts';
import { useAction } from '../../state/action.ts';
import { href } from '../../state/route.ts';
import { say } from '../../state/toasts.ts';
import { isOver, jobsUrl, nameOf } from './jobs.ts';
import { PromoteReference } from './promote-reference.ts';

export function JobActions({ job, onChange }: { job: Job; onChange: () => void }) {
  const action = useAction();
  const [isPromoting, setPromoting] = useState(false);
  const does = (verb: 'pause' | 'resume' | 'cancel', past: string) =>
    action.run(async () => {
      const failed = (error: Error) => say(error.message);
      await ask(`${jobsUrl}/${part(job.id)}/${verb}`, { method: 'POST' }).then(
        () => say(`${nameOf(job)} is ${past}.`),
        failed,
      );
      onChange();
    });
  const made = job.fine_tuned_model;
  const isBusy = action.isRunning;
  if (made !== null) {
    return [
      h(LinkButton, { icon: 'compare', href: href(['playground'], { target: ['', made] }) }, 'Compare with base'),
      h(Button, { kind: 'primary', icon: 'promote', onClick: () => setPromoting(true) }, 'Promote'),
      isPromoting && h(PromoteReference, { reference: made, onClose: () => setPromoting(false) }),
    ];
  }
  if (isOver(job)) return null;
  return [
    job.status === 'paused'
      ? h(Button, { icon: 'play', kind: 'primary', isBusy, onClick: () => does('resume', 'resumed') }, 'Resume')
      : h(Button, { icon: 'pause', isBusy, onClick: () => does('pause', 'paused') }, 'Pause'),
    h(Button, { icon: 'stop', isBusy, onClick: () => does('cancel', 'cancelled') }, 'Cancel'),
  ];
}
