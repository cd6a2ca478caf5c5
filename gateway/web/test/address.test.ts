// The page's address.
import { expect, it } from 'vitest';
import { readAddress } from '../src/address';

const at = (url: string) => readAddress(new URL(url));

it('finds the session, the token, and what is beside the page', () => {
  expect(at('http://127.0.0.1:8080/ws/abc?token=x.y')).toEqual({
    sessionId: 'abc',
    token: 'x.y',
    socketUrl: 'ws://127.0.0.1:8080/ws/abc',
    shareUrl: 'http://127.0.0.1:8080/ws/abc/share',
    baseUrl: 'http://127.0.0.1:8080/ws/abc',
    lasting: '',
    embed: null,
  });
});

it('uses wss under https, and has no token where there is none', () => {
  expect(at('https://example.test/ws/abc/')).toMatchObject({ token: null, socketUrl: 'wss://example.test/ws/abc', shareUrl: 'https://example.test/ws/abc/share' });
  expect(at('https://example.test/ws/abc?token=').token).toBeNull();
});

it('keeps for a reload that it is part of another page, and nothing that lets anybody in', () => {
  expect(at('https://example.test/ws/abc?embed=1&token=t')).toMatchObject({ token: 't', lasting: '?embed=1', embed: { bar: false } });
  expect(at('https://example.test/ws/abc?bar=1&embed=1')).toMatchObject({ token: null, lasting: '?embed=1&bar=1', embed: { bar: true } });
});
