// The terminal's colours, dark and light, and which of them hold. The page's own are in style.css.

import type { ISearchDecorationOptions } from '@xterm/addon-search';
import type { ITheme } from '@xterm/xterm';
import type { ThemeChoice } from './preferences';

const PREFERS_LIGHT = '(prefers-color-scheme: light)';

const DARK: ITheme = {
  background: '#0d1117',
  foreground: '#e6edf3',
  cursor: '#5eead4',
  cursorAccent: '#0d1117',
  selectionBackground: '#2f5d8a99',
  black: '#484f58',
  red: '#ff7b72',
  green: '#56d364',
  yellow: '#e3b341',
  blue: '#79c0ff',
  magenta: '#d2a8ff',
  cyan: '#56d4dd',
  white: '#c9d1d9',
  brightBlack: '#8b949e',
  brightRed: '#ffa198',
  brightGreen: '#7ee787',
  brightYellow: '#f2cc60',
  brightBlue: '#a5d6ff',
  brightMagenta: '#e2c5ff',
  brightCyan: '#b3f0ff',
  brightWhite: '#ffffff',
};

const LIGHT: ITheme = {
  background: '#ffffff',
  foreground: '#1f2328',
  cursor: '#0f766e',
  cursorAccent: '#ffffff',
  selectionBackground: '#9cc7f599',
  black: '#24292f',
  red: '#b3261e',
  green: '#116329',
  yellow: '#7d4e00',
  blue: '#0550ae',
  magenta: '#6639ba',
  cyan: '#155e75',
  white: '#57606a',
  brightBlack: '#6e7781',
  brightRed: '#a40e26',
  brightGreen: '#1a7f37',
  brightYellow: '#633c01',
  brightBlue: '#0969da',
  brightMagenta: '#8250df',
  brightCyan: '#0e7490',
  brightWhite: '#424a53',
};

/** What marks the matches of a search: the add-on takes #RRGGBB only. */
export type SearchColours = ISearchDecorationOptions;

const DARK_SEARCH: SearchColours = {
  matchBackground: '#5a4a1c',
  matchOverviewRuler: '#e3b341',
  activeMatchBackground: '#9a5b12',
  activeMatchBorder: '#f2cc60',
  activeMatchColorOverviewRuler: '#f2cc60',
};

const LIGHT_SEARCH: SearchColours = {
  matchBackground: '#fff1b8',
  matchOverviewRuler: '#b58900',
  activeMatchBackground: '#ffc663',
  activeMatchBorder: '#7d4e00',
  activeMatchColorOverviewRuler: '#7d4e00',
};

/** The page's and the terminal's colours: those that were chosen, or the system's. */
export class Theme {
  private readonly system = window.matchMedia(PREFERS_LIGHT);
  private choice: ThemeChoice = 'system';

  constructor(private readonly apply: (theme: ITheme) => void) {
    this.system.addEventListener('change', () => this.show());
  }

  choose(choice: ThemeChoice): void {
    this.choice = choice;
    for (const rule of lightRules()) rule.media.mediaText = { system: PREFERS_LIGHT, light: 'all', dark: 'not all' }[choice];
    this.show();
  }

  get search(): SearchColours {
    return this.isLight ? LIGHT_SEARCH : DARK_SEARCH;
  }

  private get isLight(): boolean {
    return this.choice === 'system' ? this.system.matches : this.choice === 'light';
  }

  private show(): void {
    this.apply(this.isLight ? LIGHT : DARK);
  }
}

let foundRules: CSSMediaRule[] | null = null;

/** The style sheet's rules for a system that prefers light. A choice rewrites their condition, so that no colour is told twice. */
function lightRules(): CSSMediaRule[] {
  foundRules ??= Array.from(document.styleSheets)
    .flatMap((sheet) => Array.from(sheet.cssRules))
    .filter((rule): rule is CSSMediaRule => rule instanceof CSSMediaRule && rule.media.mediaText === PREFERS_LIGHT);
  return foundRules;
}
