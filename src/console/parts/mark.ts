// The logo, a lorikeet.

import { h } from 'preact';

const body =
  'M16 3c7 0 12 5 12 12 0 8-6 14-14 14 3-3 4-6 4-9C10 20 5 15 5 10c0-1 .1-2 .4-3H10c1.500-2.500 3.500-4 6-4z';
const wing = 'M18 20c5 0 9-2 10-6v1c0 8-6 14-14 14 3-3 4-6 4-9z';
const beak = 'M5.400 7C3 9 2.500 12 4 15c1.500-1 2.500-2 3-4L10 7H5.400z';

export const Mark = () =>
  h(
    'svg',
    { class: 'mark', viewBox: '0 0 32 32', 'aria-hidden': 'true' },
    h('path', { class: 'mark-body', d: body }),
    h('path', { class: 'mark-wing', d: wing }),
    h('path', { class: 'mark-beak', d: beak }),
    h('circle', { class: 'mark-eye', cx: 15, cy: 9.5, r: 1.7 }),
  );
