import picocolors from 'picocolors';
import type { Io, OutputStream } from '../io.ts';

export type Tone = 'good' | 'bad' | 'warn' | 'busy' | 'dim' | 'bold' | 'plain';
export type Paint = (tone: Tone, text: string) => string;

/** Colours for one stream: none when it is no terminal, or NO_COLOR, TERM=dumb or --no-color say so. */
export function paintFor(stream: OutputStream, io: Pick<Io, 'env'>, color: boolean): Paint {
  const off =
    !color || stream.isTTY !== true || (io.env['NO_COLOR'] ?? '') !== '' || io.env['TERM'] === 'dumb';
  const colors = picocolors.createColors(!off);
  const tones: Record<Tone, (text: string) => string> = {
    good: colors.green,
    bad: colors.red,
    warn: colors.yellow,
    busy: colors.cyan,
    dim: colors.dim,
    bold: colors.bold,
    plain: (text) => text,
  };
  return (tone, text) => tones[tone](text);
}

const TONES: Record<string, Tone> = {
  active: 'good',
  ready: 'good',
  succeeded: 'good',
  passed: 'good',
  verified: 'good',
  done: 'good',
  current: 'good',
  failed: 'bad',
  halted: 'bad',
  aborted: 'bad',
  unreachable: 'bad',
  unknown: 'bad',
  drifted: 'bad',
  stopped: 'warn',
  paused: 'warn',
  suspended: 'warn',
  accepted: 'warn',
  cordoned: 'warn',
  draining: 'warn',
  deferred: 'warn',
  cancelled: 'warn',
  awaiting_approval: 'warn',
  running: 'busy',
  provisioning: 'busy',
  moving: 'busy',
  offboarding: 'busy',
  baking: 'busy',
  gating: 'busy',
  undoing: 'busy',
  measuring: 'busy',
  waiting: 'dim',
  inconclusive: 'warn',
  error: 'bad',
  pending: 'dim',
  planned: 'dim',
  queued: 'dim',
  skipped: 'dim',
  'not begun': 'dim',
  deleted: 'dim',
  retired: 'dim',
};

/** The tone of a state of any noun. Colour only repeats what the word says. */
export function toneOf(state: string): Tone {
  return TONES[state] ?? 'plain';
}

const ICONS: Record<Tone, string> = {
  good: '✔',
  bad: '✖',
  warn: '!',
  busy: '●',
  dim: '○',
  bold: '•',
  plain: '•',
};

/** The state with its icon, coloured. */
export function stateText(paint: Paint, state: string): string {
  const tone = toneOf(state);
  return paint(tone, `${ICONS[tone]} ${state}`);
}
