// The terminal's colours, dark and light. The page's own are in style.css; both follow the system's preference.

import type { ITheme } from '@xterm/xterm';

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

/** Calls back with the theme now and on each change of the system's preference. */
export function followTheme(apply: (theme: ITheme) => void): void {
  const light = window.matchMedia('(prefers-color-scheme: light)');
  apply(light.matches ? LIGHT : DARK);
  light.addEventListener('change', () => apply(light.matches ? LIGHT : DARK));
}
