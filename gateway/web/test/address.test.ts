// The page's address.
import { expect, it } from 'vitest';
import { readAddress } from '../src/address';

const at = (url: string) => readAddress(new URL(url));

it('finds the session, the token and the socket beside the page', () => {
  expect(at('http://127.0.0.1:8080/ws/abc?token=x.y')).toEqual({ sessionId: 'abc', token: 'x.y', socketUrl: 'ws://127.0.0.1:8080/ws/abc' });
});

it('uses wss under https, and has no token where there is none', () => {
  expect(at('https://example.test/ws/abc/')).toEqual({ sessionId: 'abc', token: null, socketUrl: 'wss://example.test/ws/abc' });
  expect(at('https://example.test/ws/abc?token=').token).toBeNull();
});
