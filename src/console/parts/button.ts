// Buttons, and links that look like them.

import { type ComponentChildren, h } from 'preact';
import { Icon, type IconName } from './icons.ts';

type Look = {
  readonly kind?: 'primary' | 'plain' | 'quiet' | 'danger';
  readonly icon?: IconName;
  readonly isSmall?: boolean;
  readonly children?: ComponentChildren;
};

type ButtonProps = Look & {
  readonly onClick?: () => void;
  readonly isDisabled?: boolean;
  readonly isBusy?: boolean;
  readonly isSubmit?: boolean;
  /** Name of a button that shows an icon alone. */
  readonly label?: string;
  readonly isPressed?: boolean;
};

const lookOf = ({ kind = 'plain', isSmall, children }: Look) =>
  ['button', kind, isSmall ? 'small' : '', children === undefined ? 'bare' : ''].filter(Boolean).join(' ');

export function Button(props: ButtonProps) {
  const { icon, children, onClick, isDisabled, isBusy, isSubmit, label, isPressed } = props;
  return h(
    'button',
    {
      class: lookOf(props),
      type: isSubmit ? 'submit' : 'button',
      disabled: isDisabled || isBusy,
      'aria-busy': isBusy ? 'true' : undefined,
      'aria-label': label,
      'aria-pressed': isPressed,
      title: label,
      onClick,
    },
    isBusy ? h('span', { class: 'spinner', 'aria-hidden': 'true' }) : icon && h(Icon, { name: icon }),
    children,
  );
}

export const LinkButton = (props: Look & { readonly href: string }) =>
  h('a', { class: lookOf(props), href: props.href }, props.icon && h(Icon, { name: props.icon }), props.children);
