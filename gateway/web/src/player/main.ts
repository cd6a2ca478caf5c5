// Starts the page that shows a recording: finds what lets it in, has the recording, and hands it to asciinema's player.

import * as AsciinemaPlayer from 'asciinema-player';
import type { Player } from 'asciinema-player';
import 'asciinema-player/dist/bundle/asciinema-player.css';
import '../style.css';
import './player.css';
import type { ITheme } from '@xterm/xterm';
import { readAddress } from '../address';
import { download, save } from '../download';
import { explainRefusal } from '../explain';
import { Preferences } from '../preferences';
import { mayRetryRefusal, type Refusal } from '../refusals';
import { TabStore } from '../storage';
import { Theme } from '../theme';
import { IDLE_LIMIT_S, readCast, wholeLines, type Cast, type Marker } from './cast';
import { askOpener, enter } from './entry';
import { showOutcome, showStages } from './stages';

const FONT = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace';
const PATH_END = /\/recording\/*$/;

const { location } = window;
const address = readAddress({ ...pick(location), pathname: location.pathname.replace(PATH_END, '') });
// Before anything else: the token must not stay where a look over the shoulder, the history or a screenshot finds it.
if (location.search !== '') window.history.replaceState(null, '', location.pathname);

const host = element('player');
const store = new TabStore(address.sessionId);
const opener = window.opener as Window | null;
// A tab that the terminal's page opened has a copy of its ticket, which is good for one of the two.
if (opener !== null) store.dropTicket();
let pageToken = '';
let player: Player | null = null;

const theme = new Theme((colours) => paint(host, colours));
const preferences = new Preferences({ theme: 'system', fontPx: null, screenReader: false, rightClickPastes: false });
preferences.follow((chosen) => theme.choose(chosen.theme));
window.addEventListener('storage', (event) => preferences.storedElsewhere(event.key));
element('download').addEventListener('click', () => void fetchFile('/recording.cast', `${address.sessionId}.cast`));
element('log').addEventListener('click', () => void fetchFile('/log?format=text', `${address.sessionId}.log`));
element('more').addEventListener('click', () => void show());
element('card-button').addEventListener('click', () => void start());

async function start(): Promise<void> {
  const entry = await enter({
    baseUrl: address.baseUrl,
    token: address.token,
    store,
    opener: () => askOpener(opener, location.origin),
  });
  if (entry.kind === 'refused') return refuse(entry.refusal);
  pageToken = entry.pageToken;
  await show();
}

/** Has all that there is, and plays it. */
async function show(): Promise<void> {
  element('card').hidden = true;
  element('waiting').hidden = false;
  const answer = await download(`${address.baseUrl}/recording.cast`, { token: pageToken });
  const text = answer.kind === 'file' ? wholeLines(await answer.blob.text()) : '';
  element('waiting').hidden = true;
  if (answer.kind === 'cancelled') return;
  if (answer.kind === 'refused') return refuse(answer.refusal);
  const cast = readCast(text);
  if (cast === null) return card('This recording cannot be shown', 'It is not what this page can play.', 'Download it, and play it with asciinema.', false);
  element('download').hidden = element('log').hidden = false;
  showOutcome(cast);
  if (cast.empty) return card('There is nothing to see yet', 'The recording has begun, and nothing was printed so far.', 'Try again in a moment.', true);
  play(text, cast);
}

function play(text: string, cast: Cast): void {
  if (cast.title !== '') document.title = `${cast.title} · CLI Scale`;
  player?.dispose();
  host.replaceChildren();
  player = AsciinemaPlayer.create({ data: text }, host, {
    fit: 'both',
    theme: 'cliscale',
    idleTimeLimit: IDLE_LIMIT_S,
    preload: true,
    controls: true,
    // The last of it: a little behind the end, as the player adds the times up in another way.
    poster: `npt:${cast.duration + 1}`,
    terminalFontFamily: FONT,
  });
  nameControls(host);
  showStages(cast, (marker) => void go(marker));
  say('The recording is ready. Space plays it and pauses it.');
  host.querySelector<HTMLElement>('.ap-wrapper')?.focus();
}

async function go(marker: Marker): Promise<void> {
  await player?.seek({ marker: marker.index });
  await player?.play();
}

function refuse({ slug, text }: Refusal): void {
  element('waiting').hidden = true;
  if (slug === 'recording_not_found') return card('There is no recording', text, 'A server keeps recordings for a time that its owner sets, if it keeps any, and none of a session that was created without.', false);
  if (slug === 'page_token_invalid') return card('This tab is not known any more', 'The session was removed, or this tab has never been in it.', 'Open the recording from the terminal’s page, or by a fresh link.', false);
  const known = explainRefusal(slug);
  if (slug !== '' && known !== explainRefusal('')) return card(known.title, known.what, known.todo, false);
  card('The recording cannot be had', text, mayRetryRefusal(slug) ? '' : 'Open it from the terminal’s page, or by a fresh link.', mayRetryRefusal(slug));
}

function card(title: string, what: string, todo: string, again: boolean): void {
  element('card-title').textContent = title;
  element('card-what').textContent = what;
  element('card-todo').textContent = todo;
  element('card-button').hidden = !again;
  element('card').hidden = false;
}

async function fetchFile(path: string, name: string): Promise<void> {
  const answer = await download(address.baseUrl + path, { token: pageToken });
  if (answer.kind === 'file') save(answer.blob, name);
  if (answer.kind === 'refused') say(answer.refusal.text);
}

/** The terminal's own colours, in the player's variables. */
function paint(target: HTMLElement, colours: ITheme): void {
  const { black, red, green, yellow, blue, magenta, cyan, white, brightBlack, brightRed, brightGreen, brightYellow, brightBlue, brightMagenta, brightCyan, brightWhite } = colours;
  const palette = [black, red, green, yellow, blue, magenta, cyan, white, brightBlack, brightRed, brightGreen, brightYellow, brightBlue, brightMagenta, brightCyan, brightWhite];
  palette.forEach((colour, index) => target.style.setProperty(`--own-${index}`, colour ?? ''));
  target.style.setProperty('--own-foreground', colours.foreground ?? '');
  target.style.setProperty('--own-background', colours.background ?? '');
}

function nameControls(target: HTMLElement): void {
  target.querySelector('.ap-wrapper')?.setAttribute('tabindex', '0');
}

function say(text: string): void {
  element('announce').textContent = text;
}

function pick({ protocol, host: name, pathname, search }: Location) {
  return { protocol, host: name, pathname, search };
}

function element(id: string): HTMLElement {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

void start();

/** For tests: the player, and what it shows. */
Object.assign(window, {
  __cliscale: {
    player: () => player,
    text: () => Array.from(host.querySelectorAll('.ap-line'), (line) => line.textContent ?? '').join('\n'),
  },
});
