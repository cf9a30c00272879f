// The views: their names in the address, their titles, and the route that an operator's view needs.

import type { IconName } from '../parts/icons.ts';

export type Place = {
  readonly name: string;
  readonly title: string;
  readonly icon: IconName;
  /** Route without which the view is not shown. */
  readonly needs?: string;
};

export const places: readonly Place[] = [
  { name: 'adapters', title: 'Adapters', icon: 'adapters' },
  { name: 'playground', title: 'Playground', icon: 'playground' },
  { name: 'training', title: 'Training', icon: 'training' },
  { name: 'traffic', title: 'Traffic', icon: 'traffic' },
  { name: 'usage', title: 'Usage', icon: 'usage', needs: '/v1/usage' },
  { name: 'keys', title: 'Keys', icon: 'keys', needs: '/v1/admin/keys' },
  { name: 'tenants', title: 'Tenants', icon: 'tenants', needs: '/v1/admin/tenants' },
  { name: 'replicas', title: 'Replicas', icon: 'replicas', needs: '/v1/admin/replicas' },
  { name: 'settings', title: 'Settings', icon: 'settings', needs: '/v1/admin/settings' },
  { name: 'audit', title: 'Audit', icon: 'audit', needs: '/v1/admin/audit' },
];
