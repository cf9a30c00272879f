// `lorikeet completion bash | zsh | fish`: prints a completion script, made from the tables that also parse arguments.

import { type Command, exitCodes, type Option } from './command.ts';
import { flagsOf } from './parse-arguments.ts';
import { verbsOf, wrongVerb } from './verbs.ts';

type Word = { readonly word: string; readonly help: string };
type Completed = { readonly name: string; readonly help: string; readonly verbs: string[]; readonly flags: Word[] };

const usage = 'completion bash | zsh | fish';

export function completionCommand(commands: () => readonly Command[]): Command {
  return {
    name: 'completion',
    usage,
    summary: 'print a script that completes commands and flags: source <(lorikeet completion bash)',
    options: {},
    settings: 'none',
    positionalsMax: 1,
    async run({ positionals: [shell], print, json, printJson }) {
      const write = Object.hasOwn(shells, shell ?? '') ? shells[shell as keyof typeof shells] : undefined;
      if (write === undefined) throw wrongVerb({ name: 'completion', usage }, shell);
      const script = write(commands().map(completed));
      if (json) printJson({ shell, script });
      else print(script);
      return exitCodes.ok;
    },
  };
}

const completed = (command: Command): Completed => ({
  name: command.name,
  help: command.summary,
  verbs: verbsOf(command),
  flags: Object.entries(flagsOf(command)).map(([flag, { help }]: [string, Option]) => ({ word: `--${flag}`, help })),
});

const shells = { bash, zsh, fish };

/** Quotes a text so that a shell expands nothing in it. */
const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
const plain = (text: string) => text.replace(/[:\\[\]'"`$\n]/g, ' ').replace(/ +/g, ' ');

function bash(commands: readonly Completed[]): string {
  const cases = commands.map(
    ({ name, verbs, flags }) =>
      `    ${name}) verbs="${verbs.join(' ')}"; flags="${flags.map(({ word }) => word).join(' ')}" ;;`,
  );
  return [
    '# bash completion of lorikeet',
    '_lorikeet() {',
    `  local current="\${COMP_WORDS[COMP_CWORD]}" verbs="" flags=""`,
    '  COMPREPLY=()',
    '  if [ "$COMP_CWORD" -eq 1 ]; then',
    `    COMPREPLY=($(compgen -W "${commands.map(({ name }) => name).join(' ')} help" -- "$current"))`,
    '    return',
    '  fi',
    `  case "\${COMP_WORDS[1]}" in`,
    ...cases,
    '  esac',
    '  case "$current" in',
    '    -*) COMPREPLY=($(compgen -W "$flags" -- "$current")) ;;',
    '    *) [ "$COMP_CWORD" -eq 2 ] && COMPREPLY=($(compgen -W "$verbs" -- "$current")) ;;',
    '  esac',
    '}',
    'complete -o default -o bashdefault -F _lorikeet lorikeet',
  ].join('\n');
}

function zsh(commands: readonly Completed[]): string {
  const entries = (words: readonly Word[]) => words.map(({ word, help }) => quoted(`${word}:${plain(help)}`)).join(' ');
  const cases = commands.map(({ name, verbs, flags }) => {
    const verbWords = verbs.map((word) => ({ word, help: `${name} ${word}` }));
    return `    ${name}) verbs=(${entries(verbWords)}); flags=(${entries(flags)}) ;;`;
  });
  return [
    '#compdef lorikeet',
    '_lorikeet() {',
    '  local -a names verbs flags',
    `  names=(${entries(commands.map(({ name, help }) => ({ word: name, help })))})`,
    "  if (( CURRENT == 2 )); then _describe 'command' names; return; fi",
    '  case "$words[2]" in',
    ...cases,
    '  esac',
    '  if [[ "$words[CURRENT]" == -* ]]; then _describe \'option\' flags; return; fi',
    "  if (( CURRENT == 3 && $#verbs )); then _describe 'verb' verbs; return; fi",
    '  _files',
    '}',
    'compdef _lorikeet lorikeet',
  ].join('\n');
}

function fish(commands: readonly Completed[]): string {
  const names = commands.map(({ name }) => name).join(' ');
  const lines = commands.flatMap(({ name, help, verbs, flags }) => [
    `complete -c lorikeet -n __fish_use_subcommand -a ${name} -d ${quoted(plain(help))}`,
    ...(verbs.length === 0
      ? []
      : [
          `complete -c lorikeet -n '__fish_seen_subcommand_from ${name}; and not __fish_seen_subcommand_from ` +
            `${verbs.join(' ')}' -a '${verbs.join(' ')}'`,
        ]),
    ...flags.map(
      ({ word, help: said }) =>
        `complete -c lorikeet -n '__fish_seen_subcommand_from ${name}' -l ${word.slice(2)} -d ${quoted(plain(said))}`,
    ),
  ]);
  return [`# fish completion of lorikeet: ${names}`, ...lines].join('\n');
}
