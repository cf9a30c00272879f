// Icons as paths in a square of 16 x 16. A word beside an icon says what it means.

import { h } from 'preact';

const paths = {
  adapters: 'M2 4.500 8 1.500l6 3-6 3zM2 8l6 3 6-3M2 11.500l6 3 6-3',
  playground: 'M2 2.500h12v8.500H7l-3 3v-3H2zM5 5.500h6M5 8h4',
  training: 'M2 2v12h12M4.500 5c1 5 3 6.500 9 7',
  traffic: 'M1.500 8.500h3l2-6 3 11 2-5h3',
  keys: '' + 'M9.500 6.500a3.500 3.500 0 1 0-2.400 3.300L8.500 11H10v1.500h1.500V14H14v-2.500L9.300 7.300M5 5.500h.01',
  tenants:
    'M5.500 7.500a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5zM1 14c0-3 2-4.500 4.500-4.500S10 11 10 14' +
    'M10.500 2.700a2.500 2.500 0 0 1 0 4.600M12 9.800c2 .6 3 2.200 3 4.200',
  usage: 'M2 14V9h3v5zM6.500 14V5h3v9zM11 14V2h3v12z',
  audit: 'M3 1.500h7l3 3v10H3zM5.500 6.500h5M5.500 9h5M5.500 11.500h3',
  settings: 'M2 4h7M12 4h2M2 12h2M7 12h7M10.500 2.500v3M5.500 10.500v3',
  replicas: 'M2 2.500h12v4H2zM2 9.500h12v4H2zM4.500 4.500h.01M4.500 11.500h.01',
  upload: 'M8 10.500V2M4.500 5 8 1.500 11.500 5M2 10.500V14h12v-3.500',
  search: 'M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.700 10.700 14 14',
  copy: 'M5.500 5.500h8v8h-8zM10.500 5.500v-3h-8v8h3',
  close: 'M3.500 3.500l9 9M12.500 3.500l-9 9',
  check: 'M3 8.500l3.500 3.500L13 4.500',
  add: 'M8 2.500v11M2.500 8h11',
  sun:
    'M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM8 1v1.500M8 13.500V15M1 8h1.500M13.500 8H15M3 3l1 1' +
    'M12 12l1 1M13 3l-1 1M4 12l-1 1',
  moon: 'M13.500 9.500A6 6 0 0 1 6.500 2.500a6 6 0 1 0 7 7z',
  system: 'M2 2.500h12v8.500H2zM5.500 14h5M8 11v3',
  back: 'M9.500 3 4.500 8l5 5',
  warning: 'M8 2 1.500 13.500h13zM8 6.500v3M8 11.500h.01',
  rollback: 'M2.500 6.500h7.500a3.500 3.500 0 0 1 0 7H6M5.500 3.500l-3 3 3 3',
  promote: 'M8 13.500V3M4 7l4-4 4 4',
  compare: 'M2 2.500h4.500v11H2zM9.500 2.500H14v11H9.500z',
  download: 'M8 2v8.500M4.500 7 8 10.500 11.500 7M2 14h12',
  remove: 'M2.500 4h11M6 4V2h4v2M4 4l.7 10h6.600L12 4',
  play: 'M4.500 2.500 13 8l-8.500 5.500z',
  pause: 'M5 3v10M11 3v10',
  stop: 'M3.500 3.500h9v9h-9z',
  merge: 'M4 2v4c0 2 4 2.500 4 5v3M12 2v4c0 2-4 2.500-4 5',
} as const;
export type IconName = keyof typeof paths;

export const Icon = ({ name }: { name: IconName }) =>
  h('svg', { class: 'icon', viewBox: '0 0 16 16', 'aria-hidden': 'true' }, h('path', { d: paths[name] }));
