//! The local terminal in raw mode, and back again on every way out: normal, by error, by panic.

use std::sync::Once;

/// While this lives, every key reaches us as the bytes it is.
pub struct RawMode(());

impl RawMode {
    pub fn enter() -> std::io::Result<Self> {
        restore_before_panics_speak();
        crossterm::terminal::enable_raw_mode()?;
        Ok(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// A panic prints its message before anything is dropped; in raw mode that would be a staircase, and where panics
/// abort nothing would be dropped at all.
fn restore_before_panics_speak() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let speak = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let _ = crossterm::terminal::disable_raw_mode();
            speak(panic);
        }));
    });
}
