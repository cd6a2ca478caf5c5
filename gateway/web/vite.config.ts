// Builds the page into dist/: index.html, which the gateway serves at /ws/{sessionId}, and hashed files below /ws/_/.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  base: '/ws/_/',
  build: {
    target: 'es2022',
    // The content security policy allows scripts, fonts and pictures from 'self' only: nothing may become inline.
    assetsInlineLimit: 0,
    // Without what makes up for browsers that lack it: each of those that this page is for has it.
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1000,
    // The player is a page of its own: the terminal's does not load it.
    rolldownOptions: { input: ['index.html', 'recording.html'] },
  },
  test: {
    include: ['test/**/*.test.ts'],
    environment: 'node',
  },
});
